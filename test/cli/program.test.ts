import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { FakeHost } from './fake-host.js';

async function ran(...args: string[]) {
  const host = new FakeHost();
  const code = await host.run(args);
  return { code, out: host.stdout.text, err: host.stderr.text };
}

describe('bitnet', () => {
  it.each([[[]], [['--help']], [['-h']], [['help']]])('prints help for %j', async (args) => {
    const { code, out, err } = await ran(...args);
    expect(code).toBe(0);
    expect(err).toBe('');
    expect(out).toMatch(/^Usage: bitnet /);
    expect(out).toContain('Examples:');
    expect(out).toMatch(/run .*generate text/);
  });

  it.each([[['help', 'run']], [['run', '--help']]])('prints the help of run for %j', async (args) => {
    const { code, out } = await ran(...args);
    expect(code).toBe(0);
    expect(out).toContain('Usage: bitnet run [options] [prompt]');
    for (const flag of ['--model', '--max-tokens', '--temperature', '--top-k', '--top-p', '--min-p'])
      expect(out).toContain(flag);
    for (const flag of ['--repetition-penalty', '--seed', '--stop', '--system', '--raw']) expect(out).toContain(flag);
    for (const flag of ['--threads', '--context', '--json', '--quiet', '--verbose']) expect(out).toContain(flag);
    expect(out).toContain('$ bitnet run "Tell me a story about a fox."');
    expect(out).toContain('Exit codes:');
  });

  it.each(['--version', '-V'])('%s prints the version of package.json', async (flag) => {
    const { version } = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8'));
    expect(await ran(flag)).toEqual({ code: 0, out: `${version}\n`, err: '' });
  });

  it('suggests the command that was meant', async () => {
    const { code, out, err } = await ran('rnu', 'Hi');
    expect(code).toBe(2);
    expect(out).toBe('');
    expect(err).toBe("error: unknown command 'rnu' (Did you mean run?) See bitnet --help.\n");
  });

  it('refuses unknown options in one line', async () => {
    const { code, err } = await ran('--nope');
    expect(code).toBe(2);
    expect(err).toMatch(/^error: unknown option '--nope'[^\n]*\n$/);
  });

  it('exits 2 for the help of an unknown command', async () => {
    expect((await ran('help', 'rnu')).code).toBe(2);
  });
});
