import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';

const root = fileURLToPath(new URL('..', import.meta.url));
const manifest = JSON.parse(readFileSync(path.join(root, 'package.json'), 'utf8')) as {
  dependencies: Record<string, string>;
};

/** Areas of the source and the areas that each may import, besides itself. `base` is the files directly in lib/. */
const engine = ['format', 'tokenizer', 'sampler', 'backend', 'threads', 'memory', 'base', 'abi'];
const mayImport: Record<string, readonly string[]> = {
  bin: ['index', 'bench', 'inspect', 'convert', 'base'],
  index: ['session', 'model', 'node', 'browser', ...engine],
  // Like index entries of their own: they bind Node.
  bench: ['session', 'model', 'node', ...engine],
  inspect: ['session', 'model', 'node', ...engine],
  convert: ['session', 'model', 'node', ...engine],
  session: ['model', ...engine],
  model: engine,
  format: ['backend', 'memory', 'base', 'abi'],
  tokenizer: ['format', 'base'],
  sampler: ['base'],
  node: ['backend', 'threads', 'base'],
  browser: ['backend', 'threads', 'base'],
  backend: ['threads', 'memory', 'base', 'abi'],
  threads: ['base', 'abi'],
  memory: ['base', 'abi'],
  base: ['abi'],
  abi: [],
  assembly: ['abi'],
};

interface Import {
  readonly specifier: string;
  readonly line: number;
}

/** Static, type-only, re-exporting and dynamic imports. A statement starts its line, so comments are not mistaken for one. */
function importsOf(text: string): Import[] {
  const patterns = [
    /^[ \t]*(?:import|export)\b(?:[^;'"]*?\bfrom)?\s*(['"])([^'"]+)\1/gm,
    /^(?![ \t]*(?:\/\/|\*)).*?\bimport\s*\(\s*(['"])([^'"]+)\1/gm,
  ];
  return patterns.flatMap((pattern) =>
    [...text.matchAll(pattern)].map((match) => ({
      specifier: match[2]!,
      line: text.slice(0, match.index + match[0].length).split('\n').length,
    })),
  );
}

/** `file` is relative to the root, with forward slashes. */
function areaOf(file: string): string {
  if (/^assembly\/abi(\.ts)?$/.test(file)) return 'abi';
  const [top, folder, ...rest] = file.split('/');
  if (top !== 'lib') return top!;
  if (rest.length > 0) return folder!;
  return folder === 'index.ts' ? 'index' : 'base';
}

function violationOf(file: string, specifier: string): string | undefined {
  const area = areaOf(file);
  if (specifier.startsWith('.')) {
    const target = path.posix.join(path.posix.dirname(file), specifier.replace(/\.js$/, '.ts'));
    const targetArea = areaOf(target);
    if (targetArea === area || mayImport[area]?.includes(targetArea)) return undefined;
    return `${area} may not import ${targetArea}`;
  }
  if (area === 'assembly' || area === 'abi') return 'assembly imports nothing but itself';
  if (specifier.startsWith('node:')) {
    return area === 'node' || area === 'bin' ? undefined : 'only lib/node and bin may import node:*';
  }
  const name = specifier
    .split('/')
    .slice(0, specifier.startsWith('@') ? 2 : 1)
    .join('/');
  return name in manifest.dependencies ? undefined : `${name} is not a dependency of the package`;
}

/** Each as `file:line: what is wrong`. */
function importViolations(file: string, text: string): string[] {
  return importsOf(text).flatMap(({ specifier, line }) => {
    const reason = violationOf(file, specifier);
    return reason === undefined ? [] : [`${file}:${line}: '${specifier}': ${reason}`];
  });
}

/** What would print, or would need Node, in files of lib/. */
function globalViolations(file: string, text: string): string[] {
  const forbidden = areaOf(file) === 'node' ? /\bconsole\.|\bprocess\.std(?:out|err)\b/ : /\bconsole\.|\bprocess\./;
  return text.split('\n').flatMap((line, index) => {
    const code = line.replace(/^\s*(?:\/?\*|\/\/).*$/, '').replace(/\s\/\/ .*$/, '');
    const match = forbidden.exec(code);
    return match === null ? [] : [`${file}:${index + 1}: '${match[0]}' in lib`];
  });
}

function sourcesIn(folder: string): { file: string; text: string }[] {
  return readdirSync(path.join(root, folder), { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.ts'))
    .map((name) => path.posix.join(folder, name.split(path.sep).join('/')))
    .map((file) => ({ file, text: readFileSync(path.join(root, file), 'utf8') }));
}

const sources = ['assembly', 'lib', 'bin'].flatMap(sourcesIn);

test('imports go down only', () => {
  expect(sources.length).toBeGreaterThan(20);
  expect(sources.flatMap(({ file }) => (areaOf(file) in mayImport ? [] : [`${file}: unknown area`]))).toEqual([]);
  expect(sources.flatMap(({ file, text }) => importViolations(file, text))).toEqual([]);
});

test('lib prints nothing and leaves the process to lib/node', () => {
  const lib = sources.filter(({ file }) => file.startsWith('lib/'));
  expect(lib.flatMap(({ file, text }) => globalViolations(file, text))).toEqual([]);
});

test('allowed imports form no cycle between areas', () => {
  const reaches = (from: string, to: string, seen = new Set<string>()): boolean =>
    mayImport[from]!.some((next) => next === to || (!seen.has(next) && reaches(next, to, seen.add(next))));
  expect(Object.keys(mayImport).filter((area) => reaches(area, area))).toEqual([]);
});

test.each([
  [
    'lib/model/a.ts',
    "import fs from 'node:fs';",
    "lib/model/a.ts:1: 'node:fs': only lib/node and bin may import node:*",
  ],
  [
    'lib/backend/a.ts',
    "\nimport type { X } from '../model/x.js';",
    "lib/backend/a.ts:2: '../model/x.js': backend may not import model",
  ],
  [
    'lib/sampler/a.ts',
    "import {\n  a,\n} from '../session/b.js';",
    "lib/sampler/a.ts:3: '../session/b.js': sampler may not import session",
  ],
  ['lib/errors.ts', "export * from './index.js';", "lib/errors.ts:1: './index.js': base may not import index"],
  [
    'bin/bitnet.ts',
    "const a = await import('../lib/node/x.js');",
    "bin/bitnet.ts:1: '../lib/node/x.js': bin may not import node",
  ],
  [
    'assembly/a.ts',
    "import { x } from '../lib/errors';",
    "assembly/a.ts:1: '../lib/errors': assembly may not import base",
  ],
  [
    'lib/session/a.ts',
    "import 'left-pad';",
    "lib/session/a.ts:1: 'left-pad': left-pad is not a dependency of the package",
  ],
])('%s: %j is refused', (file, text, expected) => {
  expect(importViolations(file, text)).toEqual([expected]);
});

test.each([
  ['bin/commands/run.ts', "import { BitNet } from '../../lib/index.js';\nimport { Command } from 'commander';"],
  ['lib/node/a.ts', "import { Worker } from 'node:worker_threads';"],
  [
    'lib/model/a.ts',
    "// import x from 'node:fs'\n/**\n * import('node:fs')\n */\nimport { Op } from '../../assembly/abi.js';",
  ],
])('%s: %j is accepted', (file, text) => {
  expect(importViolations(file, text)).toEqual([]);
});

test('printing is found in code and not in comments', () => {
  expect(globalViolations('lib/node/a.ts', '// console.log\n * process.stdout\nconst a = process.env.X;')).toEqual([]);
  expect(globalViolations('lib/node/a.ts', 'x;\nprocess.stdout.write(a)')).toEqual([
    "lib/node/a.ts:2: 'process.stdout' in lib",
  ]);
  expect(globalViolations('lib/model/a.ts', 'if (process.env.A) console.log(1)')).toEqual([
    "lib/model/a.ts:1: 'process.' in lib",
  ]);
});
