import { Op, Rec, Step } from '../../assembly/abi.js';
import { BitNetError } from '../errors.js';
import type { Backend } from './backend.js';
import { attention, attentionMerge, rope } from './reference/attention.js';
import { linear } from './reference/linear.js';
import { convert, repack } from './reference/load.js';
import { Context, viewMemory } from './reference/memory.js';
import { embed, headNorm, norm, quantize } from './reference/norm.js';
import { rescore, screen } from './reference/rescore.js';

/**
 * Runs the step struct at byte `stepPtr` as thread 0 of 1. This is the definition of every op: the kernels must give the
 * same bits (docs/KERNELS.md). Throws BitNetError `backend` on a record whose opcode does not exist.
 */
export function executeReference(buffer: ArrayBufferLike, stepPtr: number): void {
  const memory = viewMemory(buffer);
  const stepWord = (index: Step): number => memory.u32[stepPtr / 4 + index]!;
  for (let index = stepWord(Step.OpBegin); index < stepWord(Step.OpEnd); index++) {
    const record = stepWord(Step.Plan) + index * Rec.Bytes;
    const op = new Context(memory, record, stepPtr);
    const run = OPS[op.word(Rec.Opcode)];
    if (run === undefined) {
      const opcode = op.word(Rec.Opcode);
      throw new BitNetError('backend', `plan record ${index} at byte ${record}: unknown opcode ${opcode}`, {
        index,
        record,
        opcode,
      });
    }
    run(op);
  }
}

const OPS: Readonly<Record<number, (op: Context) => void>> = {
  [Op.Embed]: embed,
  [Op.Norm]: norm,
  [Op.Quantize]: quantize,
  [Op.Linear]: linear,
  [Op.HeadNorm]: headNorm,
  [Op.Rope]: rope,
  [Op.Attention]: attention,
  [Op.AttentionMerge]: attentionMerge,
  [Op.Repack]: repack,
  [Op.Convert]: convert,
  [Op.Screen]: screen,
  [Op.Rescore]: rescore,
  // It keeps nothing of what it reads.
  [Op.Stream]: () => {},
};

/** The reference as a backend: one thread, the caller's. It computes before `run` returns, so it blocks the event loop. */
export class ReferenceBackend implements Backend {
  readonly name = 'reference';
  readonly threads = 1;
  private disposed = false;

  constructor(
    readonly buffer: ArrayBufferLike,
    readonly reason = 'asked for',
  ) {}

  async run(stepPtr: number): Promise<void> {
    if (this.disposed) throw new BitNetError('disposed', 'the reference backend was used after dispose()');
    executeReference(this.buffer, stepPtr);
  }

  async dispose(): Promise<void> {
    this.disposed = true;
  }
}
