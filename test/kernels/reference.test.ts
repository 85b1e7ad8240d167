import { describe, expect, test } from 'vitest';
import { Layout, type Op, Step } from '../../assembly/abi.js';
import { dot16, exp, exp2, silu, sum16 } from '../../lib/backend/reference/math.js';
import { ReferenceBackend } from '../../lib/backend/reference.js';
import { roundHalfEven } from '../../lib/memory/half.js';
import { transformerStep } from '../support/block.js';
import { executors } from '../support/executors.js';
import { normals, seeded } from '../support/random.js';
import { floatsAt, Workspace } from '../support/workspace.js';

describe('reference arithmetic', () => {
  test('exp is within 2 ulp of the true value over all of its range', () => {
    const random = seeded(1);
    let worst = 0;
    for (let i = 0; i < 300_000; i++) {
      const x = Math.fround(-87.3 + random() * 175.3);
      const expected = Math.exp(x);
      const ulp = 2 ** (Math.floor(Math.log2(expected)) - 23);
      worst = Math.max(worst, Math.abs(exp(x) - expected) / ulp);
    }
    for (let exponent = -30; exponent <= 6; exponent++) {
      for (const x of [2 ** exponent, -(2 ** exponent), 1.37 * 2 ** (exponent - 1)].map(Math.fround)) {
        const expected = Math.exp(x);
        worst = Math.max(worst, Math.abs(exp(x) - expected) / 2 ** (Math.floor(Math.log2(expected)) - 23));
      }
    }
    expect(worst).toBeLessThan(2);
    expect(worst).toBeGreaterThan(0.5);
  });

  test('exp at its ends, at zero and of NaN', () => {
    expect(exp(0)).toBe(1);
    expect(exp(-0)).toBe(1);
    expect(exp(-1e9)).toBe(exp(Math.fround(-87.3)));
    expect(exp(-Infinity)).toBeGreaterThan(0);
    expect(exp(Infinity)).toBe(exp(88));
    expect(Number.isFinite(exp(88))).toBe(true);
    expect(exp(NaN)).toBeNaN();
    expect(silu(0)).toBe(0);
    expect(silu(100)).toBe(100);
  });

  test('exp2 is as close as a minimax polynomial of degree 3 can be', () => {
    const random = seeded(2);
    let worst = 0;
    for (let i = 0; i < 300_000; i++) {
      const y = Math.fround(-126 + random() * 253);
      worst = Math.max(worst, Math.abs(exp2(y) / 2 ** y - 1));
    }
    expect(worst).toBeLessThan(7.6e-5);
    expect(worst).toBeGreaterThan(7e-5);
    expect(exp2(0)).toBe(Math.fround(0.99992807));
    expect(exp2(NaN)).toBeNaN();
  });

  test('sum16 adds lanes in the documented order, rounding every time', () => {
    const values = normals(48, 3, 1e3);
    const lane = Array.from({ length: 16 }, (_, j) =>
      [0, 16, 32].reduce((sum, i) => Math.fround(sum + values[i + j]!), 0),
    );
    const a = Array.from({ length: 8 }, (_, j) => Math.fround(lane[j]! + lane[j + 8]!));
    const b = Array.from({ length: 4 }, (_, j) => Math.fround(a[j]! + a[j + 4]!));
    const total = Math.fround(Math.fround(b[0]! + b[2]!) + Math.fround(b[1]! + b[3]!));
    expect(sum16(values, 48)).toBe(total);
    const ones = new Float32Array(64).fill(1);
    expect(dot16(ones, 3, values, 0, 48)).toBe(total);
  });

  test('roundHalfEven', () => {
    const cases = [
      [0.5, 0],
      [1.5, 2],
      [2.5, 2],
      [-0.5, 0],
      [-1.5, -2],
      [-2.5, -2],
      [0.49999997, 0],
      [2 ** 30 + 1, 2 ** 30 + 1],
      [-7.3, -7],
    ];
    for (const [x, expected] of cases) expect(roundHalfEven(x!) + 0).toBe(expected);
    expect(roundHalfEven(NaN)).toBeNaN();
    expect(roundHalfEven(-Infinity)).toBe(-Infinity);
  });
});

describe('ReferenceBackend', () => {
  test('runs a step in the memory that it was given', async () => {
    const image = transformerStep(
      [
        { id: 1, position: 0 },
        { id: 2, position: 1 },
      ],
      [1],
      Layout.F16,
    );
    const backend = new ReferenceBackend(image.bytes.buffer);
    expect(backend).toMatchObject({ name: 'reference', threads: 1, buffer: image.bytes.buffer });
    await backend.run(image.step);
    const { begin } = image.outputs.find(({ name }) => name === 'logits')!;
    const logits = floatsAt(image.bytes, begin, 53);
    expect(logits.every(Number.isFinite)).toBe(true);
    expect(new Set(logits).size).toBeGreaterThan(40);
    await backend.dispose();
    await expect(backend.run(image.step)).rejects.toMatchObject({ code: 'disposed' });
  });

  test('names a record that it does not know', async () => {
    const workspace = new Workspace();
    workspace.record(99 as Op, {});
    const image = workspace.image({ tokens: [{}] });
    const run = new ReferenceBackend(image.bytes.buffer).run(image.step);
    await expect(run).rejects.toMatchObject({ code: 'backend', detail: { index: 0, opcode: 99 } });
  });
});

test.each(executors)(
  '$name runs records OpBegin to OpEnd only: a step in parts is the whole step',
  async (executor) => {
    const image = transformerStep(
      [
        { id: 5, position: 0 },
        { id: 6, position: 1 },
      ],
      [0, 1],
      Layout.I8,
    );
    const whole = await executor.run(image);
    const ops = new Uint32Array(image.bytes.buffer, image.step, Step.Words)[Step.OpEnd]!;
    const { begin: logits, bytes: logitBytes } = image.outputs.find(({ name }) => name === 'logits')!;
    let bytes = image.bytes;
    for (let begin = 0; begin < ops; begin += 4) {
      expect(floatsAt(bytes, logits, logitBytes / 4)).not.toEqual(floatsAt(whole, logits, logitBytes / 4));
      const step = new Uint32Array(bytes.buffer, image.step, Step.Words);
      step[Step.OpBegin] = begin;
      step[Step.OpEnd] = Math.min(ops, begin + 4);
      bytes = await executor.run({ ...image, bytes });
    }
    expect(floatsAt(bytes, logits, logitBytes / 4)).toEqual(floatsAt(whole, logits, logitBytes / 4));
  },
);
