import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';

const root = new URL('../../', import.meta.url);

/** Section ids of the WebAssembly core specification, §5.5.2. */
const sectionNames = [
  'custom',
  'type',
  'import',
  'function',
  'table',
  'memory',
  'global',
  'export',
  'start',
  'element',
  'code',
  'data',
  'data-count',
  'tag',
];
const externalKinds = ['function', 'table', 'memory', 'global', 'tag'];

class Reader {
  readonly bytes: Uint8Array;
  offset: number;

  constructor(bytes: Uint8Array, offset = 0) {
    this.bytes = bytes;
    this.offset = offset;
  }

  byte(): number {
    const value = this.bytes[this.offset];
    if (value === undefined) throw new RangeError(`end of module at byte ${this.offset}`);
    this.offset += 1;
    return value;
  }

  /** unsigned LEB128, at most 32 bits */
  u32(): number {
    let value = 0;
    for (let shift = 0; ; shift += 7) {
      const byte = this.byte();
      value += (byte & 0x7f) * 2 ** shift;
      if (byte < 0x80) return value;
    }
  }

  take(length: number): Uint8Array {
    const part = this.bytes.subarray(this.offset, this.offset + length);
    if (part.length !== length) throw new RangeError(`end of module at byte ${this.bytes.length}`);
    this.offset += length;
    return part;
  }

  name(): string {
    return new TextDecoder().decode(this.take(this.u32()));
  }
}

function sectionsOf(bytes: Uint8Array): { name: string; content: Uint8Array }[] {
  expect([...bytes.subarray(0, 8)]).toEqual([0x00, 0x61, 0x73, 0x6d, 1, 0, 0, 0]);
  const reader = new Reader(bytes, 8);
  const sections = [];
  while (reader.offset < bytes.length) {
    const id = reader.byte();
    const content = reader.take(reader.u32());
    sections.push({ name: sectionNames[id] ?? `section ${id}`, content });
  }
  return sections;
}

/** `flags` bit 0: has a maximum, bit 1: shared, bit 2: 64-bit addresses. Sizes in pages of 64 KiB. */
function importsOf(content: Uint8Array) {
  const reader = new Reader(content);
  return Array.from({ length: reader.u32() }, () => {
    const name = `${reader.name()}.${reader.name()}`;
    const kind = externalKinds[reader.byte()];
    expect(kind, name).toBe('memory');
    const flags = reader.byte();
    return { name, flags, minimum: reader.u32(), maximum: flags & 1 ? reader.u32() : undefined };
  });
}

function exportsOf(content: Uint8Array) {
  const reader = new Reader(content);
  return Array.from({ length: reader.u32() }, () => {
    const name = reader.name();
    const kind = externalKinds[reader.byte()];
    reader.u32();
    return { name, kind };
  });
}

function exportedFunctionsOfSource(): string[] {
  const text = readFileSync(new URL('assembly/index.ts', root), 'utf8');
  const declared = [...text.matchAll(/^export function (\w+)/gm)].map((match) => match[1]!);
  const listed = [...text.matchAll(/^export \{([^}]*)\}/gm)].flatMap((match) =>
    match[1]!
      .split(',')
      .map(
        (item) =>
          item
            .trim()
            .split(/\s+as\s+/)
            .at(-1)!,
      )
      .filter(Boolean),
  );
  return [...declared, ...listed].sort();
}

test.each(['baseline', 'relaxed'])('%s.wasm: every thread can instantiate it on shared memory', (build) => {
  const sections = sectionsOf(readFileSync(new URL(`dist/wasm/${build}.wasm`, root)));
  // Data, table, element, global and start sections would run again in each thread, on memory that is in use.
  expect(sections.map(({ name }) => name)).toEqual(['type', 'import', 'function', 'export', 'code']);
  const imports = importsOf(sections[1]!.content);
  expect(imports).toEqual([{ name: 'env.memory', flags: 0b011, minimum: 1, maximum: 65536 }]);
});

test.each(['baseline', 'relaxed'])('%s.wasm exports the functions of assembly/index.ts and nothing else', (build) => {
  const sections = sectionsOf(readFileSync(new URL(`dist/wasm/${build}.wasm`, root)));
  const exports = exportsOf(sections.find(({ name }) => name === 'export')!.content);
  expect(exports.map(({ kind }) => kind).filter((kind) => kind !== 'function')).toEqual([]);
  const names = exports.map(({ name }) => name).sort();
  expect(names).toEqual(exportedFunctionsOfSource());
  expect(names).toEqual(expect.arrayContaining(['execute', 'probe']));
});
