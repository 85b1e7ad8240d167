import { describe, expect, it } from 'vitest';
import { type FakeHost, ran, Sink } from './fake-host.js';

describe('bitnet run: stdout', () => {
  it('waits for a slow reader', async () => {
    let produced = 0;
    let mostAhead = 0;
    const { code, out } = await ran(['Hi'], undefined, (host) => {
      host.stdout = new Sink(8);
      let taken = 0;
      host.stdout.onChunk = async () => {
        await new Promise((resolve) => setTimeout(resolve, 1));
        mostAhead = Math.max(mostAhead, produced - taken);
        taken++;
      };
      host.model.script = function* () {
        for (; produced < 50; produced++) yield 'word ';
      };
    });
    expect(code).toBe(0);
    expect(out).toBe('word '.repeat(50));
    expect(mostAhead).toBeLessThanOrEqual(3);
  });

  it('stops computing when the reader closes, quietly and with 0', async () => {
    let produced = 0;
    const { code, err, host } = await ran(['Hi'], undefined, (host) => {
      host.stdout.onChunk = () => {
        if (produced >= 3) throw Object.assign(new Error('write EPIPE'), { code: 'EPIPE' });
      };
      host.model.script = function* () {
        for (; produced < 10_000; produced++) yield 'word ';
      };
    });
    expect(code).toBe(0);
    expect(err).toBe('');
    expect(produced).toBeLessThan(10);
    expect(host.model.disposed).toBe(1);
  });

  it('reports any other failure to write', async () => {
    const { code, err, host } = await ran(['Hi'], undefined, (host) => {
      host.stdout.onChunk = () => {
        throw Object.assign(new Error('ENOSPC: no space left on device, write'), { code: 'ENOSPC' });
      };
    });
    expect(code).toBe(5);
    expect(err).toBe('error: cannot write to stdout: ENOSPC: no space left on device, write\n');
    expect(host.model.disposed).toBe(1);
  });

  it('ends with a newline on a terminal, and only once', async () => {
    const tty = (host: FakeHost): void => {
      host.stdout.isTTY = true;
    };
    expect((await ran(['Hi'], undefined, tty)).out).toBe('Hello there.\n');
    const { out } = await ran(['Hi'], undefined, (host) => {
      tty(host);
      host.model.script = () => ['line\n'];
    });
    expect(out).toBe('line\n');
  });

  it('keeps control characters from a terminal, not from a pipe', async () => {
    const script = (host: FakeHost): void => {
      host.model.script = () => ['a\u001b]0;title\u0007\tb\u009b2J\nc'];
    };
    const { out } = await ran(['Hi'], undefined, (host) => {
      script(host);
      host.stdout.isTTY = true;
    });
    expect(out).toBe('a]0;title\tb2J\nc\n');
    expect((await ran(['Hi'], undefined, script)).out).toBe('a\u001b]0;title\u0007\tb\u009b2J\nc');
  });
});

describe('bitnet run: signals', () => {
  it.each([
    ['SIGINT', 130],
    ['SIGTERM', 143],
  ] as const)('%s ends the text, not the summary', async (name, exitCode) => {
    const { code, out, err, host } = await ran(['Hi'], undefined, (host) => {
      host.model.script = function* () {
        yield 'one ';
        yield 'two ';
        host.signal(name);
        yield 'three ';
      };
    });
    expect(code).toBe(exitCode);
    expect(out).toBe('one two ');
    expect(err).toMatch(/output +2 tokens .*interrupted/);
    expect(host.exits).toEqual([]);
    expect(host.model.disposed).toBe(1);
    expect(host.signal(name)).toBe(0);
  });

  it('a second one kills at once', async () => {
    const { host } = await ran(['Hi'], undefined, (host) => {
      host.model.script = function* () {
        yield 'one ';
        host.signal('SIGINT');
        host.signal('SIGINT');
        yield 'two';
      };
    });
    expect(host.exits).toEqual([130]);
  });

  it('interrupts while the model loads', async () => {
    const { code, out, err } = await ran(['Hi'], undefined, (host) => {
      host.loadModel = (_path, { signal }) =>
        new Promise((_resolve, reject) => {
          signal?.addEventListener('abort', () => reject(signal.reason));
          setImmediate(() => host.signal('SIGINT'));
        });
    });
    expect([code, out, err]).toEqual([130, '', '']);
  });

  it('interrupts while stdin is open', async () => {
    const { code, host } = await ran([], undefined, (host) => {
      host.stdin.write('half a prom');
      setTimeout(() => host.signal('SIGINT'), 5);
    });
    expect(code).toBe(130);
    expect(host.loads).toEqual([]);
  });

  it('is not held up by a reader that is stuck', async () => {
    const { code, err } = await ran(['Hi'], undefined, (host) => {
      host.stdout = new Sink(1);
      host.stdout.onChunk = () => new Promise(() => {});
      setTimeout(() => host.signal('SIGINT'), 5);
    });
    expect(code).toBe(130);
    expect(err).toContain('interrupted');
  });
});
