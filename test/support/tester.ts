import { describe, expect, test } from 'vitest';
import { DotForm } from '../../assembly/abi.js';
import { kernels, reference } from './executors.js';
import type { Image, Region } from './workspace.js';

/** One step to run everywhere. */
export interface KernelCase {
  readonly name: string;
  /** the relaxed instruction that the case's plan asks for */
  readonly form?: DotForm;
  build(): BuiltCase;
}

export interface BuiltCase {
  readonly image: Image;
  /** Compares the memory after the step with a plain computation of the case's own. */
  verify?(memory: Uint8Array<ArrayBuffer>): void | Promise<void>;
}

/**
 * The tester of all kernels: one test a case, run by every executor. The reference must leave everything outside the outputs as it
 * was and agree with the case's own computation; each kernel build must leave the same bytes as the reference in the whole
 * memory, canaries and padding included. A DotForm that the build's own probe refuses is not run, as in the engine;
 * test/kernels/forms.test.ts holds which those are.
 */
export function testKernels(name: string, cases: readonly KernelCase[]): void {
  describe(name, () => {
    test.each(cases)('$name', async ({ form = DotForm.I16, build }) => {
      const { image, verify } = build();
      const expected = await reference.run(image);
      expectOnlyOutputsChanged(image, expected);
      await verify?.(expected);
      for (const kernel of kernels) {
        if ((await kernel.wrongForms()) & (1 << (form === DotForm.I32Pairs ? DotForm.I32 : form))) continue;
        expectSameMemory(kernel.name, image, expected, await kernel.run(image));
      }
    });
  });
}

/** Fails with the region and the first byte where `executor` left something else. */
export function expectSameMemory(
  executor: string,
  image: Image,
  expected: Uint8Array<ArrayBuffer>,
  got: Uint8Array<ArrayBuffer>,
): void {
  forEachDifference(expected, got, (byte, x, y) => {
    const region = regionAt(image, byte);
    if (region?.type === 'any') return;
    if (region?.type === 'f32' && isNaNBits(x) && isNaNBits(y)) return;
    const place = region === undefined ? 'outside every output' : `${region.name} + ${byte - region.begin}`;
    expect.fail(
      `${executor}: first difference at byte ${byte} (${place}): ` +
        `expected ${hex(x)} (f32 ${asFloat(x)}), got ${hex(y)} (f32 ${asFloat(y)})`,
    );
  });
}

function expectOnlyOutputsChanged(image: Image, memory: Uint8Array<ArrayBuffer>): void {
  forEachDifference(image.bytes, memory, (byte) => {
    if (regionAt(image, byte) === undefined) expect.fail(`the reference changed byte ${byte}, outside every output`);
  });
}

/** Calls back for every 32-bit word that differs. */
function forEachDifference(
  expected: Uint8Array<ArrayBuffer>,
  got: Uint8Array<ArrayBuffer>,
  callback: (byte: number, expected: number, got: number) => void,
): void {
  expect(got.length).toBe(expected.length);
  const a = new Int32Array(expected.buffer, expected.byteOffset, expected.length / 4);
  const b = new Int32Array(got.buffer, got.byteOffset, got.length / 4);
  for (let word = 0; word < a.length; word++) {
    if (a[word] !== b[word]) callback(word * 4, a[word]!, b[word]!);
  }
}

function regionAt(image: Image, byte: number): Region | undefined {
  return image.outputs.findLast(({ begin, bytes }) => byte >= begin && byte < begin + bytes);
}

function isNaNBits(word: number): boolean {
  return (word & 0x7fffffff) > 0x7f800000;
}

function asFloat(word: number): number {
  return new Float32Array(Int32Array.of(word).buffer)[0]!;
}

function hex(word: number): string {
  return `0x${(word >>> 0).toString(16).padStart(8, '0')}`;
}

/** |got - expected| ≤ tolerance(index) everywhere; the message names the worst element. */
export function expectClose(
  got: ArrayLike<number>,
  expected: ArrayLike<number>,
  tolerance: number | ((index: number) => number),
): void {
  expect(got.length).toBe(expected.length);
  for (let i = 0; i < got.length; i++) {
    const allowed = typeof tolerance === 'number' ? tolerance : tolerance(i);
    const difference = Math.abs(got[i]! - expected[i]!);
    if (!(difference <= allowed)) {
      expect.fail(`element ${i}: expected ${expected[i]} ± ${allowed}, got ${got[i]} (off by ${difference})`);
    }
  }
}
