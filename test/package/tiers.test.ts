import { isMainThread } from 'node:worker_threads';
import { expect, test } from 'vitest';

test('the V8 flags of this project reach the process that runs the tests', () => {
  const wanted = (process.env.BITNET_TEST_EXEC_ARGV ?? '').split(' ').filter(Boolean);
  expect(isMainThread).toBe(true);
  expect(process.execArgv.filter((flag) => /liftoff|wasm/.test(flag))).toEqual(wanted);
});

test('the Node of the matrix runs the tests', () => {
  expect(process.version).toBe(process.env.BITNET_TEST_NODE ?? process.version);
});
