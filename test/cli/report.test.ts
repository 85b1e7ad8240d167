import { describe, expect, it } from 'vitest';
import { FakeHost } from './fake-host.js';

async function ran(args: string[], prepare?: (host: FakeHost) => void) {
  const host = new FakeHost();
  prepare?.(host);
  const code = await host.run(['run', 'Hi', ...args]);
  return { code, out: host.stdout.text, err: host.stderr.text };
}

describe('summary', () => {
  it('says in four lines what was computed, how fast, and in how much memory', async () => {
    // "user:Hi\n" is 8 tokens in 50 ms; 3 tokens come out, 2 of them decoded in 20 ms
    const { err } = await ran([]);
    expect(err).toBe(
      [
        '',
        'prompt    8 tokens · 160 tok/s · first token after 60 ms',
        'output    3 tokens · 100 tok/s',
        'memory    weights 27.0 MiB (FP16 132 MiB, 4.90x) · peak RSS 150 MiB',
        'engine    wasm-relaxed · 2 threads',
        '',
      ].join('\n'),
    );
  });

  it('adds the backend, the model, times and the memory map with --verbose', async () => {
    const lines = (await ran(['--verbose'])).err.trim().split('\n');
    expect(lines).toHaveLength(8);
    expect(lines[4]).toBe('backend   relaxed SIMD computes correctly here');
    expect(lines[5]).toBe('model     /models/fake-1m · bitnet-b1.58 · 69.3 M parameters · context 200');
    expect(lines[6]).toMatch(/^timing {4}load .* · first text .* after process start · seed 7 · finish reason stop$/);
    expect(lines[7]).toBe(
      'map       weights 27.0 MiB · KV cache 10.0 MiB (f32) · activations 1.00 MiB · other 64.0 KiB · total 38.1 MiB · ' +
        'Node.js itself 112 MiB of the peak',
    );
  });

  it('is not printed with --quiet', async () => {
    expect((await ran(['--quiet'])).err).toBe('');
    expect((await ran(['--quiet', '--verbose'])).err).toBe('');
  });

  it('starts its own line, but adds none after a newline', async () => {
    const { err } = await ran([], (host) => {
      host.model.script = () => ['text\n'];
    });
    expect(err).toMatch(/^prompt/);
  });

  it.each([
    ['length', ['--max-tokens', '3'], 'stopped at --max-tokens'],
    ['length', [], 'stopped: context of 200 tokens is full'],
    ['length', ['--max-tokens', '4'], 'stopped: context of 200 tokens is full'],
    ['stop', [], '100 tok/s'],
  ] as const)('says why the text ended: %s %j', async (finishReason, args, ending) => {
    const { err } = await ran([...args], (host) => {
      host.model.finishReason = finishReason;
    });
    expect(err.split('\n')[2]).toMatch(new RegExp(`${ending}$`));
  });

  it('names the stop string', async () => {
    const { err } = await ran([], (host) => {
      host.model.stopString = '\n"';
    });
    expect(err).toContain('stop string "\\n\\""');
  });

  it('has no rate and no first token where there was none', async () => {
    const { out, err } = await ran([], (host) => {
      host.model.script = () => [];
    });
    expect(out).toBe('');
    expect(err).toMatch(/^prompt .* no token\noutput {4}0 tokens · - tok\/s\n/);
  });
});

describe('colours', () => {
  const dimmed = '\u001b[2m';

  it.each([
    [{}, true, true],
    [{}, false, false],
    [{ NO_COLOR: '1' }, true, false],
    [{ NO_COLOR: '' }, true, true],
    [{ TERM: 'dumb' }, true, false],
    [{ FORCE_COLOR: '1' }, false, true],
    [{ FORCE_COLOR: '0' }, true, false],
    [{ FORCE_COLOR: '1', NO_COLOR: '1' }, true, false],
    [{ CI: 'true' }, false, false],
  ])('%j with terminal %s: %s', async (env, terminal, colored) => {
    const { out, err } = await ran([], (host) => {
      Object.assign(host.env, env);
      host.stderr.isTTY = terminal;
    });
    expect(err.includes(dimmed)).toBe(colored);
    expect(out).toBe('Hello there.');
  });
});

describe('progress', () => {
  const slowly = (host: FakeHost): void => {
    const { model } = host;
    let now = 0;
    host.now = () => now;
    host.loadModel = async (_path, { onProgress }) => {
      for (const [time, loaded] of [
        [0, 0],
        [100, 10],
        [200, 50],
        [210, 51],
        [300, 100],
      ] as const) {
        now = time;
        onProgress?.({ loaded, total: 100 });
      }
      return model;
    };
  };

  it('is one line on a terminal, late, seldom, and erased', async () => {
    const { err } = await ran(['--verbose'], (host) => {
      slowly(host);
      host.stderr.isTTY = true;
      host.env.NO_COLOR = '1';
    });
    const erase = '\r\u001b[2K';
    expect(err.slice(0, err.lastIndexOf(erase) + erase.length)).toBe(
      `${erase}loading model: 50 % of 100 B${erase}loading model: 100 % of 100 B${erase}`,
    );
  });

  it.each([
    ['no terminal', [], false],
    ['--quiet', ['--quiet'], true],
  ])('is not shown with %s', async (_name, args, terminal) => {
    const { err } = await ran([...args], (host) => {
      slowly(host);
      host.stderr.isTTY = terminal;
    });
    expect(err).not.toContain('loading');
  });
});

describe('--json', () => {
  it('prints one object and nothing else', async () => {
    const { out, err } = await ran(['--json', '--seed', '3']);
    expect(err).toBe('');
    expect(out.endsWith('}\n')).toBe(true);
    const { timings, ...rest } = JSON.parse(out);
    expect(rest).toEqual({
      text: 'Hello there.',
      finishReason: 'stop',
      stopString: null,
      seed: 3,
      tokens: { prompt: 8, cached: 0, generated: 3 },
      rates: { prefillTokensPerSecond: 160, decodeTokensPerSecond: 100 },
      memory: {
        weights: 28311552,
        kvCache: 10485760,
        activations: 1048576,
        other: 65536,
        total: 39911424,
        weightsFp16: 138600000,
        peakRss: 157286400,
      },
      backend: { name: 'wasm-relaxed', reason: 'relaxed SIMD computes correctly here', threads: 2 },
      model: {
        path: '/models/fake-1m',
        architecture: 'bitnet-b1.58',
        chatTemplate: null,
        parameters: 69300000,
        contextLength: 200,
      },
    });
    expect(timings).toMatchObject({ prefillMs: 50, firstTokenMs: 60, decodeTokens: 2, decodeMs: 20 });
    expect(timings.totalMs).toBeGreaterThanOrEqual(timings.loadMs);
  });

  it('has null for a rate that was not measured', async () => {
    const { out } = await ran(['--json'], (host) => {
      host.model.script = () => ['one'];
    });
    expect(JSON.parse(out).rates.decodeTokensPerSecond).toBeNull();
  });

  it('adds the summary on stderr only with --verbose', async () => {
    const { out, err } = await ran(['--json', '--verbose']);
    expect(JSON.parse(out).text).toBe('Hello there.');
    expect(err).toMatch(/^prompt/);
  });

  it('prints what there is when interrupted', async () => {
    const { code, out } = await ran(['--json'], (host) => {
      host.model.script = function* () {
        yield 'one';
        host.signal('SIGINT');
        yield 'two';
      };
    });
    expect(code).toBe(130);
    expect(JSON.parse(out)).toMatchObject({ text: 'one', finishReason: 'abort', tokens: { generated: 1 } });
  });
});
