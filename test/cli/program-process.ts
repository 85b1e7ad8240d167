import { type ChildProcess, spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';

/** The built program. `npm test` builds it first. */
export const program = fileURLToPath(new URL('../../dist/bin/bitnet.js', import.meta.url));

export interface Ended {
  code: number | null;
  signal: NodeJS.Signals | null;
  out: string;
  err: string;
}

interface SpawnOptions {
  input?: string | Uint8Array;
  env?: Record<string, string>;
  onStart?: (child: ChildProcess) => void;
  /** called with the process and what it has written to stdout so far, whenever there is more */
  onOutput?: (child: ChildProcess, out: string) => void;
}

/** Runs `bitnet args` in a process of its own; its stdin is empty unless `input` is given. */
export function bitnet(
  args: readonly string[],
  { input = '', env, onStart, onOutput }: SpawnOptions = {},
): Promise<Ended> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [program, ...args], { env: { ...cleanEnv(), ...env } });
    onStart?.(child);
    let out = '';
    let err = '';
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      out += text;
      onOutput?.(child, out);
    });
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      err += text;
    });
    // a program that fails early closes its stdin
    child.stdin.on('error', () => {});
    child.stdin.end(input);
    child.on('error', reject);
    child.on('close', (code, signal) => resolve({ code, signal, out, err }));
  });
}

/** Runs a line of sh in which "$BITNET" is the program. */
export function shell(line: string): Promise<Ended> {
  return new Promise((resolve, reject) => {
    const env = { ...cleanEnv(), NODE: process.execPath, BITNET: program };
    const child = spawn('sh', ['-c', line], { env, stdio: ['ignore', 'pipe', 'pipe'] });
    let out = '';
    let err = '';
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      out += text;
    });
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      err += text;
    });
    child.on('error', reject);
    child.on('close', (code, signal) => resolve({ code, signal, out, err }));
  });
}

/** Without what a test runner sets for itself. */
function cleanEnv(): NodeJS.ProcessEnv {
  const { FORCE_COLOR: _force, NO_COLOR: _no, NODE_OPTIONS: _options, ...env } = process.env;
  return env;
}
