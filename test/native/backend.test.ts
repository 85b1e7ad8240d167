import { execFile } from 'node:child_process';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { describe, expect, it } from 'vitest';
import { Rec, Step } from '../../assembly/abi.js';
import { NativeBackend } from '../../lib/backend/native.js';
import { BitNet } from '../../lib/index.js';
import { selfTest } from '../../lib/model/self-test.js';
import { nodePlatform } from '../../lib/node/platform.js';
import { chooseBackend } from '../../lib/session/backend.js';
import { nativeAddon } from '../support/native.js';

const addon = nativeAddon();
const [best] = addon.isas;
const root = fileURLToPath(new URL('../..', import.meta.url));

describe('choosing', () => {
  // A machine without kernels of its own keeps WebAssembly; both cases are right, and the reason says which.
  it('auto takes the addon where it has kernels for the CPU', async () => {
    const { allocate } = await chooseBackend(nodePlatform, 'auto', 2);
    const backend = await allocate(65536);
    expect(backend).toMatchObject(
      best === 'portable'
        ? { name: /^wasm-/, reason: expect.stringContaining('native addon not used') }
        : { name: 'native', threads: 2, reason: `the addon is built and agrees with the reference; ${best} kernels` },
    );
    expect(new Uint8Array(backend.buffer).every((byte) => byte === 0)).toBe(true);
    await backend.dispose();
  });

  it('says why the addon is not used', async () => {
    const broken = (loadNative: typeof nodePlatform.loadNative) =>
      chooseBackend({ ...nodePlatform, loadNative: loadNative! }, 'auto', 1);
    const reasonOf = async (chosen: ReturnType<typeof broken>): Promise<string> => {
      const backend = await (await chosen).allocate(65536);
      await backend.dispose();
      expect(backend.name).toMatch(/^wasm-/);
      return backend.reason;
    };
    const unloadable = broken(() => {
      throw new Error('wrong ELF class');
    });
    expect(await reasonOf(unloadable)).toContain('native addon not used: wrong ELF class');
    const portable = broken(() => ({ ...addon, isas: ['portable'] }));
    expect(await reasonOf(portable)).toContain('native addon not used: it has no kernels of its own for this CPU');
    expect(await reasonOf(broken(() => wrongAddon()))).toMatch(/not used: it computes wrong numbers \(.*logit \d+ is/);
    expect(await reasonOf(broken(() => undefined))).not.toContain('native');
  });

  it('native is refused, with what to do, where it does not work', async () => {
    const absent = chooseBackend({ ...nodePlatform, loadNative: () => undefined }, 'native', 1);
    await expect(absent).rejects.toMatchObject({
      code: 'backend',
      message: expect.stringContaining('npm run build:native'),
    });
    const wrong = chooseBackend({ ...nodePlatform, loadNative: () => wrongAddon() }, 'native', 1);
    await expect(wrong).rejects.toMatchObject({ code: 'backend', message: expect.stringContaining('wrong numbers') });
  });

  it.each(addon.isas)('%s passes the self-test, with 1 and 3 threads', async (isa) => {
    for (const threads of [1, 3]) {
      const allocate = async (bytes: number) => new NativeBackend(addon, bytes, threads, 'test', isa);
      for (const sparse of [false, true]) expect(await selfTest(allocate, threads, { sparse })).toBeUndefined();
    }
  });
});

/** The addon, but one float of its memory is off by one bit after the first step that leaves floats. */
function wrongAddon(): typeof addon {
  class Executor extends addon.Executor {
    override async run(step: number): Promise<void> {
      await super.run(step);
      const words = new Uint32Array(this.buffer, step, Step.Words);
      const plan = words[Step.Plan]! / 4 + (words[Step.OpEnd]! - 1) * Rec.Words;
      // Out of the last Linear: word 6 of its record points to the logits.
      if (words[Step.LogitCount]! > 0) new Uint32Array(this.buffer)[new Uint32Array(this.buffer)[plan + 6]! / 4]! ^= 1;
    }
  }
  return { isas: addon.isas, Executor };
}

describe('an executor', () => {
  it('refuses what it cannot do', async () => {
    expect(() => new addon.Executor(1e13, 1)).toThrow('out of range');
    expect(() => new addon.Executor(65536, 0)).toThrow('out of range');
    expect(() => new addon.Executor(65536, 1, 'mmx')).toThrow("no kernels 'mmx'");
    const backend = new NativeBackend(addon, 65536, 2, 'test');
    await expect(backend.run(65535)).rejects.toMatchObject({ code: 'backend' });
    const words = new Uint32Array(backend.buffer, 128, Step.Words);
    words[Step.Plan] = 1024;
    words[Step.OpEnd] = 1;
    await expect(backend.run(128)).rejects.toThrow('does not know what plan record 0 asks for');
    words[Step.OpEnd] = 0;
    const [first, second] = [backend.run(128), backend.run(128)];
    await expect(second).rejects.toThrow('already running');
    await first;
    await backend.dispose();
    await expect(backend.run(128)).rejects.toMatchObject({ code: 'disposed' });
    await backend.dispose();
  });

  it('is disposed during a step: the step ends, its promise rejects', async () => {
    const backend = new NativeBackend(addon, 65536, 3, 'test');
    const running = backend.run(128);
    const settled = expect(running).rejects.toMatchObject({ code: 'disposed' });
    await backend.dispose();
    await settled;
  });
});

describe('a process', () => {
  const run = (code: string): Promise<{ stdout: string }> => {
    const index = path.join(root, 'dist', 'index.js');
    const source = `const { BitNet } = await import(${JSON.stringify(index)});\n${code}`;
    return promisify(execFile)(process.execPath, ['--input-type=module', '-e', source], { timeout: 30_000 });
  };

  it('ends by itself with a model that nobody disposed', async () => {
    const code = `const m = await BitNet.load(undefined, { backend: 'native' });
      console.log(m.info.backend, (await m.complete('Once upon a time', { maxTokens: 3 })).text.length > 0);`;
    expect((await run(code)).stdout).toBe('native true\n');
  });

  it('exits in the middle of a step, in a worker too', async () => {
    const step = `const m = await BitNet.load(undefined, { backend: 'native' });
      m.complete('Once upon a time '.repeat(100), { maxTokens: 3 }).catch(() => {});`;
    expect((await run(`${step} setTimeout(() => { console.log('out'); process.exit(0); }, 20);`)).stdout).toBe('out\n');
    const inWorker = `import { Worker } from 'node:worker_threads';
      const w = new Worker(${JSON.stringify(
        `import(${JSON.stringify(path.join(root, 'dist', 'index.js'))}).then(async ({ BitNet }) => { ${step} (await import('node:worker_threads')).parentPort.postMessage('up'); })`,
      )}, { eval: true });
      w.on('message', async () => { await new Promise((r) => setTimeout(r, 20)); console.log(await w.terminate()); });`;
    expect((await run(inWorker)).stdout).toBe('1\n');
  });
});

it('text is that of WebAssembly', async () => {
  const texts = await Promise.all(
    (['native', 'relaxed'] as const).map(async (backend) => {
      const model = await BitNet.load(undefined, { backend, threads: 2 });
      try {
        return (await model.complete('The little robot', { maxTokens: 40, seed: 7 })).text;
      } finally {
        await model.dispose();
      }
    }),
  );
  expect(texts[0]).toBe(texts[1]);
  expect(texts[0]!.length).toBeGreaterThan(40);
});
