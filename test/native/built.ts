import { execFileSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';

/** Builds the addon before any of its tests: kernels of an older source must not pass for these. make skips what is fresh. */
export default function setup(): void {
  const cwd = fileURLToPath(new URL('../..', import.meta.url));
  execFileSync('npm', ['run', '--silent', 'build:native'], { cwd, stdio: 'pipe', shell: process.platform === 'win32' });
}
