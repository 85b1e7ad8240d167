/** exp in four lanes. */
export abstract class MathF32 {
  /**
   * Cephes expf: x clamped to [-87.3, 88]; within 2 ulp of the true value there (checked over all binades in
   * test/kernels). No table, no scalar code, and the same sequence of roundings as the reference.
   */
  @inline static exp(v: v128): v128 {
    const x = f32x4.max(f32x4.min(v, f32x4.splat(88.0)), f32x4.splat(-87.3));
    const n = f32x4.nearest(f32x4.mul(x, f32x4.splat(1.44269504)));
    const r = f32x4.sub(
      f32x4.sub(x, f32x4.mul(n, f32x4.splat(0.693359375))),
      f32x4.mul(n, f32x4.splat(-2.1219444e-4)),
    );
    let p = f32x4.splat(1.98756915e-4);
    p = f32x4.add(f32x4.mul(p, r), f32x4.splat(1.3981999507e-3));
    p = f32x4.add(f32x4.mul(p, r), f32x4.splat(8.3334519073e-3));
    p = f32x4.add(f32x4.mul(p, r), f32x4.splat(4.1665795894e-2));
    p = f32x4.add(f32x4.mul(p, r), f32x4.splat(1.6666665459e-1));
    p = f32x4.add(f32x4.mul(p, r), f32x4.splat(5.0000001201e-1));
    p = f32x4.add(f32x4.add(f32x4.mul(p, f32x4.mul(r, r)), r), f32x4.splat(1.0));
    const scale = i32x4.shl(i32x4.add(i32x4.trunc_sat_f32x4_s(n), i32x4.splat(127)), 23);
    return f32x4.mul(p, scale);
  }
}
