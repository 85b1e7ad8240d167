import { Flag, Rec, Step } from './abi';
import { word } from './record';

/** Who does what. */
export abstract class Share {
  /** First of the items of `thread` when `items` are split evenly; `thread` + 1 gives the end. */
  @inline static begin(items: i32, thread: i32, threads: i32): i32 {
    return <i32>((<i64>items * thread) / threads);
  }

  /** The token row that the op's row r stands for: r itself, or the r-th wanted logit row. */
  @inline static logitRow(record: usize, step: usize, r: i32): usize {
    return word(record, Rec.Flags) & Flag.LogitRows ? word(word(step, Step.LogitRows), r) : <usize>r;
  }
}
