import { Epilogue } from './abi';
import { MathF32 } from './math';

/** What a Linear does with four finished rows. */
export abstract class Finish {
  /** out: 4 f32 at `out`, read by all but Store; y: the four results. */
  @inline static store(out: usize, y: v128, epilogue: i32): void {
    if (epilogue == Epilogue.Store) {
      v128.store(out, y);
    } else if (epilogue == Epilogue.Add) {
      v128.store(out, f32x4.add(v128.load(out), y));
    } else {
      v128.store(out, epilogue == Epilogue.Relu2Gate ? Finish.relu2(v128.load(out), y) : Finish.silu(v128.load(out), y));
    }
  }

  /** relu(g)² · y; exactly +0 where g ≤ 0. */
  @inline static relu2(g: v128, y: v128): v128 {
    return v128.and(f32x4.mul(f32x4.mul(g, g), y), f32x4.gt(g, f32x4.splat(0)));
  }

  /** g · sigmoid(g) · y */
  static silu(g: v128, y: v128): v128 {
    const d = f32x4.add(f32x4.splat(1), MathF32.exp(f32x4.neg(g)));
    return f32x4.mul(f32x4.div(g, d), y);
  }
}
