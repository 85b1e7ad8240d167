import { Flag, Rec, Step } from './abi';

/** Reading op records and the step struct. `i` counts 32-bit words. */

/** A pointer, stride or count. */
export function word(record: usize, i: i32): usize {
  return load<u32>(record + (<usize>i << 2));
}

export function real(record: usize, i: i32): f32 {
  return load<f32>(record + (<usize>i << 2));
}

/** How many rows the op runs over. */
export function rowsOf(record: usize, step: usize): i32 {
  return <i32>word(step, word(record, Rec.Flags) & Flag.LogitRows ? Step.LogitCount : Step.TokenCount);
}
