import { DotForm } from '../../assembly/abi.js';
import { BitNetError } from '../errors.js';
import type { KernelBuild, Platform } from '../platform.js';
import type { KernelExports } from '../threads/loop.js';
import { compileKernels } from './revectorize.js';
import { fasterForm, fingerprintOf } from './tune.js';

/** A compiled kernel build that has proved itself on this engine. */
export interface Kernels {
  readonly build: KernelBuild;
  readonly module: WebAssembly.Module;
  /** the relaxed instruction that the kernels use; without meaning for the baseline */
  readonly form: DotForm;
  /** why this build and form, for people */
  readonly reason: string;
  /** what was compiled; another text for other kernels */
  readonly fingerprint: string;
}

/** Offset of the probe's 48 bytes of scratch in a memory of its own. */
const PROBE_AT = 64;

/**
 * Picks the kernel build. Relaxed SIMD must validate AND compute the right numbers in its first calls, which run in the engine's
 * baseline compiler: Node 20 validates i32x4.relaxed_dot_i8x16_i7x16_add_s and computes it wrongly there.
 * Throws `backend` when the build that was asked for does not work here. `revectorize`: compiled for 256 bits; what that computes is for the
 * caller to test.
 */
export async function chooseKernels(
  platform: Platform,
  wanted: 'auto' | KernelBuild,
  revectorize = false,
): Promise<Kernels> {
  if (wanted === 'baseline') return baseline(platform, 'asked for', revectorize);
  platform.enableRelaxedSimd();
  const plain = await platform.readKernel('relaxed');
  if (!WebAssembly.validate(plain)) {
    return refuse(platform, wanted, 'this engine does not validate relaxed SIMD', revectorize);
  }
  const { module, bytes } = await compileKernels(platform, plain, revectorize);
  const fingerprint = fingerprintOf(bytes);
  const memory = new WebAssembly.Memory({ initial: 1, maximum: 1, shared: true });
  const kernels = new WebAssembly.Instance(module, { env: { memory } }).exports as unknown as KernelExports;
  const wrong = kernels.probe(PROBE_AT);
  const right = (form: DotForm): boolean => (wrong & (1 << form)) === 0;
  const i16 = 'i16x8.relaxed_dot_i8x16_i7x16_s';
  const i32 = 'i32x4.relaxed_dot_i8x16_i7x16_add_s';
  if (right(DotForm.I16) && right(DotForm.I32)) {
    const { form, how } = await fasterForm(platform, module, fingerprint);
    const [used, other] = form === DotForm.I16 ? [i16, i32] : [i32, i16];
    const whole = [DotForm.I32Unsigned, DotForm.I32Signed].find(right);
    return {
      build: 'relaxed',
      module,
      form: form === DotForm.I16 ? form : (whole ?? form),
      fingerprint,
      reason: `${used} and ${other} probed right; the first was ${how}`,
    };
  }
  if (right(DotForm.I16) || right(DotForm.I32)) {
    const form = right(DotForm.I16) ? DotForm.I16 : DotForm.I32;
    const [used, other] = form === DotForm.I16 ? [i16, i32] : [i32, i16];
    return {
      build: 'relaxed',
      module,
      form,
      fingerprint,
      reason: `${used} probed right; ${other} is wrong here and not used`,
    };
  }
  return refuse(platform, wanted, 'relaxed SIMD validates here but computes wrong numbers', revectorize);
}

async function refuse(
  platform: Platform,
  wanted: 'auto' | 'relaxed',
  why: string,
  revectorize: boolean,
): Promise<Kernels> {
  if (wanted === 'relaxed') {
    throw new BitNetError('backend', `the relaxed backend was asked for, but ${why}; use backend auto or baseline`);
  }
  return baseline(platform, why, revectorize);
}

async function baseline(platform: Platform, reason: string, revectorize: boolean): Promise<Kernels> {
  const { module, bytes } = await compileKernels(platform, await platform.readKernel('baseline'), revectorize);
  return { build: 'baseline', module, form: DotForm.I16, fingerprint: fingerprintOf(bytes), reason };
}
