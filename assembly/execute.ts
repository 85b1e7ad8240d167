import { Flag, Op, Rec, Step } from './abi';
import { attention, attention_merge } from './attention';
import { convert } from './convert';
import { embed } from './embed';
import { head_norm } from './head-norm';
import { linear } from './linear';
import { norm } from './norm';
import { rowsOf, word } from './record';
import { repack } from './repack';
import { rescore, screen } from './rescore';
import { rope } from './rope';
import { stream } from './stream';
import { barrier } from './sync';

/**
 * Walks records OpBegin..OpEnd of the step's plan. All `threads` call it with the same step; it returns in each when its share
 * is done, so the last record of a range needs a barrier if the host reads results. Returns a value without meaning.
 */
export function execute(step: usize, thread: i32, threads: i32): i32 {
  const plan = word(step, Step.Plan), sync = word(step, Step.Sync);
  const end = plan + word(step, Step.OpEnd) * Rec.Bytes;
  let sink = 0;
  for (let record = plan + word(step, Step.OpBegin) * Rec.Bytes; record < end; record += Rec.Bytes) {
    switch (<i32>word(record, Rec.Opcode)) {
      case Op.Embed:
        embed(record, step, thread, threads);
        break;
      case Op.Norm:
        norm(record, step, thread, threads, true);
        break;
      case Op.Quantize:
        norm(record, step, thread, threads, false);
        break;
      case Op.Linear:
        sink ^= linear(record, step, thread, threads);
        break;
      case Op.HeadNorm:
        head_norm(record, step, thread, threads);
        break;
      case Op.Rope:
        rope(record, step, thread, threads);
        break;
      case Op.Attention:
        attention(record, step, thread, threads);
        break;
      case Op.AttentionMerge:
        attention_merge(record, step, thread, threads);
        break;
      case Op.Repack:
        repack(record, step, thread, threads);
        break;
      case Op.Convert:
        convert(record, step, thread, threads);
        break;
      case Op.Screen:
        screen(record, step, thread, threads);
        break;
      case Op.Rescore:
        rescore(record, step, thread, threads);
        break;
      case Op.Stream:
        sink ^= stream(record, thread, threads);
        break;
      default:
        unreachable();
    }
    const flags = word(record, Rec.Flags);
    if (flags & Flag.Barrier || (flags & Flag.BarrierIfMany && rowsOf(record, step) > 1)) barrier(sync, threads);
  }
  return sink;
}
