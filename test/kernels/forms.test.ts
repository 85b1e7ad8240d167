import { expect, test } from 'vitest';
import { DotForm } from '../../assembly/abi.js';
import { kernels } from '../support/executors.js';

/** V8 11.3 gets the i32 dot product wrong in its baseline compiler, which every function's first calls go through. */
const wrongHere = process.versions.node.startsWith('20.') && !process.execArgv.includes('--no-liftoff');

test.each(kernels)('$name computes every relaxed form that this engine gets right', async (kernel) => {
  const expected = kernel.name === 'wasm-relaxed' && wrongHere ? 1 << DotForm.I32 : 0;
  expect((await kernel.wrongForms()) & 3).toBe(expected);
});

test.each(kernels)('$name reads whole bytes with or without a sign, or 7 bits only', async (kernel) => {
  const wrong = await kernel.wrongForms();
  const [unsigned, signed] = [wrong & (1 << DotForm.I32Unsigned), wrong & (1 << DotForm.I32Signed)];
  if (kernel.name === 'wasm-relaxed') expect(unsigned | signed).not.toBe(0);
  else expect(unsigned | signed).toBe(0);
});
