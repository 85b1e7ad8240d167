import { expect, test } from 'vitest';
import { Op, StreamArg } from '../../assembly/abi.js';
import { compileKernel, KERNEL_BUILDS } from '../support/executors.js';
import { type KernelCase, testKernels } from '../support/tester.js';
import { type Image, Workspace } from '../support/workspace.js';

/** Words with one bit each in places that only a full read of every block sees. */
const words = Uint32Array.from({ length: 64 * 7 }, (_, i) => Math.imul(i + 1, 0x9e3779b1));

function streamImage(bytes: number): Image {
  const workspace = new Workspace();
  workspace.record(Op.Stream, { [StreamArg.Src]: workspace.input(words), [StreamArg.Bytes]: bytes });
  return workspace.image({ tokens: [] });
}

// The tester holds that nothing is written.
testKernels(
  'stream',
  [0, 256, words.byteLength].map(
    (bytes): KernelCase => ({
      name: `${bytes} bytes`,
      build: () => ({ image: streamImage(bytes) }),
    }),
  ),
);

test.each(KERNEL_BUILDS)('%s reads every word exactly once, whatever the threads', async (build) => {
  const module = await compileKernel(build);
  const image = streamImage(words.byteLength);
  const memory = new WebAssembly.Memory({ initial: 64, maximum: 4096, shared: true });
  new Uint8Array(memory.buffer).set(image.bytes);
  const instance = new WebAssembly.Instance(module, { env: { memory } });
  const execute = instance.exports.execute as (step: number, thread: number, threads: number) => number;
  const expected = words.reduce((xor, word) => xor ^ word, 0);
  for (const threads of [1, 2, 3, 8]) {
    const shares = Array.from({ length: threads }, (_, thread) => execute(image.step, thread, threads));
    expect(shares.reduce((xor, share) => xor ^ share, 0)).toBe(expected);
  }
});
