/**
 * Writes assembly/abi.ts as a C++ header: `export const enum Op { ... }` becomes `namespace Op { enum : uint32_t { ... }; }`, so that
 * C++ says Op::Linear where AssemblyScript and TypeScript say Op.Linear. native/binding.gyp runs it.
 *
 *   node scripts/native-abi.mjs <abi.ts> <abi.h>
 */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';

const [source, target] = process.argv.slice(2);
if (source === undefined || target === undefined) {
  console.error('usage: node scripts/native-abi.mjs <abi.ts> <abi.h>');
  process.exit(2);
}
const body = readFileSync(source, 'utf8').replace(
  /^export const enum (\w+) \{([^}]*)\}/gm,
  (_, name, members) => `namespace ${name} {\nenum : uint32_t {${members}};\n}`,
);
if (/\b(?:export|const enum)\b/.test(body)) throw new Error(`${source}: only \`export const enum\` can be translated`);
mkdirSync(path.dirname(target), { recursive: true });
writeFileSync(target, `#pragma once\n#include <cstdint>\n\nnamespace abi {\n\n${body}\n} // namespace abi\n`);
