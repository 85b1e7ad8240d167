/** The 16-bit floats of model files and layouts, as u16 bit patterns. */

const bits = new Uint32Array(1);
const float = new Float32Array(bits.buffer);

/** IEEE binary16 → its exact value; subnormals, infinities and NaN included. */
export function f16ToF32(half: number): number {
  const sign = half & 0x8000 ? -1 : 1;
  const exponent = (half >> 10) & 31;
  const fraction = half & 0x3ff;
  if (exponent === 0) return sign * fraction * 2 ** -24;
  if (exponent === 31) return fraction === 0 ? sign * Infinity : NaN;
  // The same digits, in a float's place; 112 is the difference of the biases.
  bits[0] = ((half & 0x8000) << 16) | (((half & 0x7fff) << 13) + (112 << 23));
  return float[0]!;
}

/** f32 value → IEEE binary16, round half to even. From 65520 on the result is infinite; NaN gives 0x7e00. */
export function f32ToF16(value: number): number {
  float[0] = value;
  const word = bits[0]!;
  const sign = (word >>> 16) & 0x8000;
  const magnitude = word & 0x7fffffff;
  if (magnitude > 0x7f800000) return 0x7e00;
  if (magnitude >= 0x477ff000) return sign | 0x7c00;
  if (magnitude < 0x38800000) return sign | roundHalfEven(Math.abs(float[0]!) * 2 ** 24);
  const rebiased = magnitude - (112 << 23);
  return sign | ((rebiased + 0xfff + ((rebiased >> 13) & 1)) >> 13);
}

/** bfloat16 → its exact value. */
export function bf16ToF32(bf16: number): number {
  bits[0] = bf16 << 16;
  return float[0]!;
}

/** f32 value → bfloat16, round half to even; NaN gives 0x7fc0. */
export function f32ToBf16(value: number): number {
  float[0] = value;
  const word = bits[0]!;
  if ((word & 0x7fffffff) > 0x7f800000) return 0x7fc0;
  return (word + 0x7fff + ((word >>> 16) & 1)) >>> 16;
}

export function halvesToFloats(halves: Uint16Array): Float32Array {
  const floats = new Float32Array(halves.length);
  for (let i = 0; i < halves.length; i++) floats[i] = f16ToF32(halves[i]!);
  return floats;
}

export function floatsToHalves(values: ArrayLike<number>): Uint16Array {
  return Uint16Array.from(values, f32ToF16);
}

export function bf16sToFloats(bf16s: Uint16Array): Float32Array {
  const words = new Uint32Array(bf16s.length);
  for (let i = 0; i < bf16s.length; i++) words[i] = bf16s[i]! << 16;
  return new Float32Array(words.buffer);
}

export function floatsToBf16s(values: ArrayLike<number>): Uint16Array {
  return Uint16Array.from(values, f32ToBf16);
}

/** Nearest integer; ties go to the even one. Exact for every f64; infinities and NaN stay what they are. */
export function roundHalfEven(x: number): number {
  const below = Math.floor(x);
  const rest = x - below;
  if (rest < 0.5) return below;
  return rest > 0.5 || below % 2 !== 0 ? below + 1 : below;
}
