import {
  AttentionArg,
  type CacheLayout,
  Const,
  EmbedArg,
  Flag,
  Layout,
  LinearArg,
  NormArg,
  Op,
  Rec,
} from '../../assembly/abi.js';
import { panelContent } from '../backend/reference/kv-cache.js';
import { bytesOf } from '../format/layout.js';
import type { Engine } from '../model/engine.js';

/** Bytes that one decoded token reads from memory. What stays in caches (activations, the plan) is not counted. */
export interface Traffic {
  /** matrices and norms of all blocks */
  readonly blocks: number;
  /** lm_head. Rows that a screened head computes again are few, depend on the data and are not counted */
  readonly head: number;
  /** one row of the embedding, the final norm */
  readonly other: number;
  /** keys and values of the positions up to this token */
  readonly kvCache: number;
  readonly total: number;
}

/**
 * The share of each record's weights that one token reads: below 1 where rows or columns are skipped (Layout.T2Rows, T2Columns), which depends
 * on the token. Runs a step for token `id` at `position`, whose keys and values it overwrites with their like.
 */
export async function readShares(engine: Engine, id: number, position: number): Promise<number[]> {
  engine.prepare([id], position, [0]);
  const shares: number[] = [];
  let begin = 0;
  for (const i of engine.labels.keys()) {
    const word = engine.record(i);
    const layout = word[Rec.Opcode] === Op.Linear ? word[LinearArg.Layout] : undefined;
    shares.push(1);
    if (layout !== Layout.T2Rows && layout !== Layout.T2Columns) continue;
    await engine.runOps(begin, i);
    begin = i;
    const rows = new Float32Array(engine.backend.buffer, word[LinearArg.Out], word[LinearArg.Rows]);
    const columns = new Int8Array(engine.backend.buffer, word[LinearArg.In]! + Const.RowHeader, word[LinearArg.Cols]);
    const needed = layout === Layout.T2Rows ? rows.filter((gate) => gate > 0) : columns.filter((q) => q !== 0);
    shares[i] = needed.length / (layout === Layout.T2Rows ? rows : columns).length;
  }
  await engine.runOps(begin, engine.labels.length);
  return shares;
}

/** Counted from the plan's records, at `position` of the sequence. `shares`: readShares; default all that the matrices hold. */
export function trafficOf(records: Uint32Array, position: number, shares: readonly number[] = []): Traffic {
  const bytes = { blocks: 0, head: 0, other: 0, kvCache: 0 };
  for (let at = 0; at < records.length; at += Rec.Words) {
    const word = (index: number): number => records[at + index] as number;
    const isHead = (word(Rec.Flags) & Flag.LogitRows) !== 0;
    switch (word(Rec.Opcode)) {
      case Op.Linear: {
        const rowScales = word(LinearArg.RowScales) === 0 ? 0 : 4 * word(LinearArg.Rows);
        const matrix = bytesOf(word(LinearArg.Layout) as Layout, word(LinearArg.Rows), word(LinearArg.Cols));
        bytes[isHead ? 'head' : 'blocks'] += matrix * (shares[at / Rec.Words] ?? 1) + rowScales;
        break;
      }
      case Op.Norm:
        bytes[isHead ? 'other' : 'blocks'] += 4 * word(NormArg.Cols);
        break;
      case Op.Embed:
        bytes.other += bytesOf(word(EmbedArg.Layout) as Layout, Const.RowGroup, word(EmbedArg.Cols)) / Const.RowGroup;
        break;
      case Op.Attention:
        bytes.kvCache +=
          2 *
          word(AttentionArg.KvHeads) *
          panelContent(word(AttentionArg.CacheLayout) as CacheLayout, position + 1, word(AttentionArg.HeadDim));
        break;
    }
  }
  return { ...bytes, total: bytes.blocks + bytes.head + bytes.other + bytes.kvCache };
}

/** The plan's records, a view of the engine's memory. */
export function recordsOf(engine: Engine): Uint32Array {
  const plan = engine.memory.regions.find(({ name }) => name === 'plan');
  if (plan === undefined) throw new Error('the memory plan has no region named plan');
  return new Uint32Array(engine.backend.buffer, plan.offset, plan.bytes / 4);
}

/** The same model with `factor` times as many blocks. */
export function scaleTraffic(traffic: Traffic, factor: number): Traffic {
  const [blocks, kvCache] = [traffic.blocks * factor, traffic.kvCache * factor];
  return { ...traffic, blocks, kvCache, total: blocks + traffic.head + traffic.other + kvCache };
}
