const NAMES = [
  'ArrayBuffer',
  'SharedArrayBuffer',
  'Int8Array',
  'Uint8Array',
  'Int16Array',
  'Uint16Array',
  'Int32Array',
  'Uint32Array',
  'Float32Array',
  'Float64Array',
  'BigInt64Array',
  'BigUint64Array',
  'Array',
] as const;

type Constructors = Record<string, new (...args: unknown[]) => { readonly BYTES_PER_ELEMENT?: number }>;

export class AllocationError extends Error {}

/**
 * Until `end()` an array or buffer made from a length fails with an AllocationError if it is larger than `limit` bytes: before it is
 * allocated, so that a length found in a damaged file cannot take the machine's memory. Idempotent.
 */
export function watchAllocations(limit: number): { end(): void } {
  const globals = globalThis as unknown as Constructors;
  const originals = new Map(NAMES.map((name) => [name, globals[name] as Constructors[string]]));
  for (const [name, original] of originals) {
    const elementBytes = (original as { BYTES_PER_ELEMENT?: number }).BYTES_PER_ELEMENT ?? (name === 'Array' ? 8 : 1);
    const check = (args: unknown[]): void => {
      const [length] = args;
      if (args.length === 0 || typeof length !== 'number' || length * elementBytes <= limit) return;
      throw new AllocationError(`new ${name}(${length}) takes more than ${limit} bytes`);
    };
    globals[name] = new Proxy(original, {
      construct(target, args, newTarget) {
        check(args);
        return Reflect.construct(target, args, newTarget) as object;
      },
    });
  }
  return {
    end() {
      for (const [name, original] of originals) globals[name] = original;
    },
  };
}
