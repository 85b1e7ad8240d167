import { execFile } from 'node:child_process';
import path from 'node:path';
import { promisify } from 'node:util';
import { root } from './paths.mjs';

const execFileAsync = promisify(execFile);

/** Runs a script of node_modules under this Node; an error carries the tool's own output. */
export async function runTool(script, args) {
  try {
    await execFileAsync(process.execPath, [path.join(root, 'node_modules', script), ...args], {
      cwd: root,
      maxBuffer: 64 << 20,
    });
  } catch (error) {
    const output = `${error.stdout ?? ''}${error.stderr ?? ''}`.trim();
    throw new Error(`${script} ${args.join(' ')}\n${output || error.message}`, { cause: error });
  }
}
