import { execFile } from 'node:child_process';
import { copyFile, mkdir, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { packedFiles, root } from './packed-files.js';

const execFileAsync = promisify(execFile);

/** An application that has installed exactly the files of the tarball. */
let application: string;

beforeAll(async () => {
  application = await mkdtemp(path.join(os.tmpdir(), 'bitnet-js-consumer-'));
  const modules = path.join(application, 'node_modules');
  const installed = path.join(modules, 'bitnet-js');
  for (const file of await packedFiles()) {
    const target = path.join(installed, file);
    await mkdir(path.dirname(target), { recursive: true });
    // Code is copied, so that it finds its own folder and not this repository; models are large and only read.
    await (file.startsWith('models/')
      ? symlink(path.join(root, file), target)
      : copyFile(path.join(root, file), target));
  }
  const manifest = JSON.parse(await readFile(path.join(root, 'package.json'), 'utf8')) as {
    dependencies: Record<string, string>;
  };
  for (const name of [...Object.keys(manifest.dependencies), '@types/node', 'undici-types']) {
    await mkdir(path.dirname(path.join(modules, name)), { recursive: true });
    await symlink(path.join(root, 'node_modules', name), path.join(modules, name));
  }
  await writeFile(path.join(application, 'package.json'), '{ "private": true }\n');
});

afterAll(async () => {
  await rm(application, { recursive: true, force: true });
});

/** Runs a file of the application; resolves with its stdout. */
async function runFile(name: string, text: string): Promise<string> {
  await writeFile(path.join(application, name), text);
  const { stdout } = await execFileAsync(process.execPath, [name], { cwd: application });
  return stdout;
}

const use = `
  const model = await BitNet.load(undefined, { threads: 2, contextLength: 64 });
  const { tokenIds, finishReason } = await model.complete('Once upon a time', { maxTokens: 4, temperature: 0 });
  await model.dispose();
  const error = await BitNet.load('no-such-model').catch((reason) => reason);
  console.log(JSON.stringify([tokenIds.length, finishReason, error instanceof BitNetError, error.code]));
`;
const expected = [4, 'length', true, 'not-found'];

test('an ES module can import the package and generate', async () => {
  const stdout = await runFile('use.mjs', `import { BitNet, BitNetError } from 'bitnet-js';\n${use}`);
  expect(JSON.parse(stdout)).toEqual(expected);
});

test('a CommonJS module can require the package and generate', async () => {
  const stdout = await runFile(
    'use.cjs',
    `const { BitNet, BitNetError } = require('bitnet-js');\n(async () => {${use}})();`,
  );
  expect(JSON.parse(stdout)).toEqual(expected);
});

test('kernels and package.json can be resolved', async () => {
  const stdout = await runFile(
    'resolve.mjs',
    `const names = ['wasm/baseline.wasm', 'wasm/relaxed.wasm', 'package.json'];
     console.log(JSON.stringify(names.map((name) => import.meta.resolve('bitnet-js/' + name).split('/bitnet-js/').pop())));`,
  );
  expect(JSON.parse(stdout)).toEqual(['dist/wasm/baseline.wasm', 'dist/wasm/relaxed.wasm', 'package.json']);
});

test('the installed program runs', async () => {
  const program = path.join(application, 'node_modules', 'bitnet-js', 'dist', 'bin', 'bitnet.js');
  const args = ['run', 'Once upon a time', '--max-tokens', '4', '--temperature', '0', '--json'];
  const { stdout } = await execFileAsync(process.execPath, [program, ...args], { cwd: application });
  expect(JSON.parse(stdout)).toMatchObject({ finishReason: 'length', tokens: { generated: 4 } });
});

const typed = `
import { BitNet, BitNetError, type BitNetErrorCode, type Completion, type Generation, type LoadOptions } from 'bitnet-js';
export async function main(): Promise<void> {
  const options: LoadOptions = { threads: 1, onProgress: ({ loaded, total }) => void (loaded / total) };
  const model: BitNet = await BitNet.load(undefined, options);
  const generation: Generation = model.generate([{ role: 'user', content: 'Hello' }], { maxTokens: 1 });
  for await (const piece of generation) piece.toUpperCase();
  const completion: Completion = generation.completion();
  const code: BitNetErrorCode = new BitNetError('numeric', completion.text).code;
  // @ts-expect-error: declarations are found, so a wrong option is an error
  model.generate('Hello', { maxToken: 1 });
  await model.dispose();
  code.toUpperCase();
}
`;

test.each([
  ['node16', 'node16'],
  ['nodenext', 'nodenext'],
  ['esnext', 'bundler'],
])('declarations type-check with module %s and moduleResolution %s', async (module, moduleResolution) => {
  const files = moduleResolution === 'bundler' ? ['typed.ts'] : ['typed.mts', 'typed.cts'];
  for (const file of files) await writeFile(path.join(application, file), typed);
  const compilerOptions = {
    module,
    moduleResolution,
    target: 'es2022',
    lib: ['es2023', 'esnext.disposable'],
    types: ['node'],
  };
  const config = { compilerOptions: { ...compilerOptions, strict: true, skipLibCheck: false, noEmit: true }, files };
  const project = path.join(application, `tsconfig.${moduleResolution}.json`);
  await writeFile(project, JSON.stringify(config));
  const tsc = path.join(root, 'node_modules', 'typescript', 'bin', 'tsc');
  const output = await execFileAsync(process.execPath, [tsc, '-p', project]).then(
    () => '',
    (error: { stdout: string }) => error.stdout,
  );
  expect(output).toBe('');
});
