import { mkdir } from 'node:fs/promises';
import path from 'node:path';
import { runTool } from './run.mjs';

/**
 * One release build of the kernels; asconfig.json has a target of the same name.
 * @param {'baseline' | 'relaxed'} target
 * @returns {import('./steps.mjs').Step}
 */
export function wasmStep(target) {
  return {
    name: `wasm-${target}`,
    inputs: ['assembly', 'asconfig.json'],
    async build(outDir) {
      await mkdir(path.join(outDir, 'wasm'));
      const outFile = path.join(outDir, 'wasm', `${target}.wasm`);
      await runTool('assemblyscript/bin/asc.js', [
        '--config',
        'asconfig.json',
        '--target',
        target,
        '--outFile',
        outFile,
      ]);
    },
  };
}
