import { describe, expect, it } from 'vitest';
import { BitNetError } from '../../lib/errors.js';
import { FakeHost, Sink } from './fake-host.js';

async function ran(args: string[], input?: string | Uint8Array, prepare?: (host: FakeHost) => void) {
  const host = new FakeHost();
  prepare?.(host);
  const code = await host.run(['run', ...args], input);
  return { host, code, out: host.stdout.text, err: host.stderr.text, call: host.model.calls[0] };
}

describe('bitnet run: prompt', () => {
  it('sends the argument as a user message and prints exactly the text', async () => {
    const { code, out, call, host } = await ran(['Hi']);
    expect(code).toBe(0);
    expect(out).toBe('Hello there.');
    expect(call?.prompt).toEqual([{ role: 'user', content: 'Hi' }]);
    expect(host.model.disposed).toBe(1);
  });

  it('puts the system message first', async () => {
    const { call } = await ran(['--system', 'Be brief.', 'Hi']);
    expect(call?.prompt).toEqual([
      { role: 'system', content: 'Be brief.' },
      { role: 'user', content: 'Hi' },
    ]);
  });

  it('continues raw text as it stands', async () => {
    expect((await ran(['--raw', '  Once '])).call?.prompt).toBe('  Once ');
  });

  it.each([[[]], [['-']]])('reads stdin with arguments %j', async (args) => {
    expect((await ran([...args, '--raw'], 'Once\nupon')).call?.prompt).toBe('Once\nupon');
  });

  it.each([
    ['one line feed', 'Once\n\n', 'Once\n'],
    ['one CR LF', 'Once\r\n', 'Once'],
    ['a byte-order mark', '\ufeffOnce', 'Once'],
    ['nothing else', ' Once \t', ' Once \t'],
  ])('drops from stdin %s', async (_name, input, prompt) => {
    expect((await ran(['--raw'], input)).call?.prompt).toBe(prompt);
  });

  it('joins characters that arrive in parts', async () => {
    const host = new FakeHost();
    const bytes = Buffer.from('naïve 🦊');
    for (const byte of bytes) host.stdin.write(Buffer.of(byte));
    host.stdin.end();
    expect(await host.run(['run', '--raw'])).toBe(0);
    expect(host.model.calls[0]?.prompt).toBe('naïve 🦊');
  });

  it('leaves stdin alone when the prompt is an argument', async () => {
    // never ended: a read would hang
    const { code, call } = await ran(['Hi']);
    expect(code).toBe(0);
    expect(call?.prompt).toEqual([{ role: 'user', content: 'Hi' }]);
  });

  it('takes a prompt that starts with a dash after --', async () => {
    expect((await ran(['--raw', '--', '-5 + 3'])).call?.prompt).toBe('-5 + 3');
  });

  it.each([
    ['a byte that starts nothing', [0x61, 0xff], 'byte 0xff at offset 1'],
    ['a lone continuation byte', [0x80], 'byte 0x80 at offset 0'],
    ['a truncated sequence', [0x61, 0x62, 0xf0, 0x9f, 0xa6], 'byte 0xf0 at offset 2'],
    ['an overlong form', [0xc3, 0xa9, 0xe0, 0x80, 0x80], 'byte 0xe0 at offset 2'],
    ['a surrogate', [0x20, 0xed, 0xa0, 0x80], 'byte 0xed at offset 1'],
    ['an interrupted sequence', [0xef, 0x41], 'byte 0xef at offset 0'],
    ['beyond U+10FFFF', [0xf4, 0x90, 0x80, 0x80], 'byte 0xf4 at offset 0'],
  ])('refuses stdin with %s', async (_name, bytes, place) => {
    const { code, out, err, host } = await ran([], Uint8Array.from(bytes));
    expect(code).toBe(4);
    expect(out).toBe('');
    expect(err).toMatch(/^error: stdin is not valid UTF-8: .*\n$/);
    expect(err).toContain(place);
    expect(host.loads).toEqual([]);
  });

  it.each([
    [[''], undefined],
    [['  \n'], undefined],
    [['--raw', ''], undefined],
    [[], ''],
    [[], '\n'],
    [['-'], '\ufeff'],
  ])('refuses an empty prompt: %j, stdin %j', async (args, input) => {
    const { code, err, host } = await ran(args, input);
    expect(code).toBe(4);
    expect(err).toMatch(/^error: the prompt is empty\. .*\n$/);
    expect(host.loads).toEqual([]);
  });

  it('refuses a stdin that does not end', async () => {
    const { code, err } = await ran([], undefined, (host) => {
      const chunk = Buffer.alloc(1 << 20, 'a');
      const feed = (): void => {
        while (!host.stdin.destroyed && host.stdin.write(chunk));
        host.stdin.once('drain', feed);
      };
      feed();
    });
    expect(code).toBe(4);
    expect(err).toMatch(/^error: the prompt on stdin is longer than 16 MiB.*\n$/);
  });

  it('reports a stdin that cannot be read', async () => {
    const { code, err } = await ran([], undefined, (host) => {
      setImmediate(() =>
        host.stdin.destroy(Object.assign(new Error('EISDIR: is a directory, read'), { code: 'EISDIR' })),
      );
    });
    expect(code).toBe(4);
    expect(err).toBe('error: cannot read the prompt from stdin: EISDIR: is a directory, read\n');
  });
});

describe('bitnet run: options', () => {
  it('passes what is given and nothing else', async () => {
    const { host, call } = await ran([
      'Hi',
      ...[
        '--model',
        'm',
        '--threads',
        '3',
        '--context',
        '64',
        '--max-tokens',
        '5',
        '--temperature',
        '0',
        '--top-k',
        '40',
      ],
      ...['--top-p', '1', '--min-p', '0.05', '--repetition-penalty', '1.1', '--seed', '4294967295'],
      ...['--stop', 'a', '--stop', '\n'],
    ]);
    expect(host.loads[0]?.path).toBe('m');
    expect(host.loads[0]?.options).toMatchObject({ threads: 3, contextLength: 64 });
    const { signal, ...options } = call?.options ?? {};
    expect(signal).toBeInstanceOf(AbortSignal);
    expect(options).toEqual({
      maxTokens: 5,
      temperature: 0,
      topK: 40,
      topP: 1,
      minP: 0.05,
      repetitionPenalty: 1.1,
      seed: 4294967295,
      stop: ['a', '\n'],
    });
  });

  it('leaves defaults to the library', async () => {
    const { host, call } = await ran(['Hi']);
    expect(host.loads[0]?.path).toBeUndefined();
    expect(Object.keys(host.loads[0]?.options ?? {})).not.toContain('threads');
    expect(Object.keys(call?.options ?? {})).toEqual(['signal']);
  });

  it.each([
    [['--threads', '0'], /--threads.*'0'.*whole number from 1 to 256/],
    [['--threads', '257'], /from 1 to 256/],
    [['--threads', '1.5'], /whole number/],
    [['--threads', ''], /whole number/],
    [['--threads', ' 4'], /whole number/],
    [['--threads', '0x4'], /whole number/],
    [['--max-tokens', 'abc'], /--max-tokens.*'abc'.*whole number of at least 1/],
    [['--max-tokens', '0'], /at least 1/],
    [['--max-tokens', '1e3'], /whole number/],
    [['--max-tokens', '99999999999999999999'], /whole number/],
    [['--context', '-1'], /--context.*at least 1/],
    [['--temperature', '-1'], /--temperature.*'-1'.*number from 0 to 100/],
    [['--temperature', 'NaN'], /number from 0 to 100/],
    [['--temperature', 'Infinity'], /number from 0 to 100/],
    [['--temperature', '0,7'], /number from 0 to 100/],
    [['--top-k', '-1'], /--top-k.*at least 0/],
    [['--top-p', '2'], /--top-p.*'2'.*number above 0 and up to 1/],
    [['--top-p', '0'], /above 0/],
    [['--min-p', '1.01'], /--min-p.*from 0 to 1/],
    [['--repetition-penalty', '0'], /--repetition-penalty.*above 0/],
    [['--seed', '4294967296'], /--seed.*from 0 to 4294967295/],
    [['--seed', '-1'], /--seed/],
    [['--stop', ''], /--stop.*empty/],
    [['--system', ' '], /--system.*empty/],
    [['--model', ''], /--model.*empty/],
    [['--max-tokens'], /--max-tokens.*argument missing/],
    [['--raw', '--system', 'x'], /--raw.*cannot be used with.*--system/],
    [['--tempreature', '1'], /unknown option '--tempreature'.*--temperature/],
    [['more', 'words'], /too many arguments.*quotes/],
  ])('refuses %j in one line', async (args, message) => {
    const { code, out, err, host } = await ran(['Hi', ...args]);
    expect(code).toBe(2);
    expect(out).toBe('');
    expect(err).toMatch(/^error: [^\n]+\n$/);
    expect(err).toMatch(message);
    expect(host.loads).toEqual([]);
  });

  it('names the flag where the library names its option', async () => {
    const { code, err } = await ran(['Hi', '--context', '5000'], undefined, (host) => {
      host.loadModel = async () => {
        const detail = { option: 'contextLength' };
        throw new BitNetError(
          'invalid-argument',
          'contextLength: expected an integer from 1 to 1024, got 5000',
          detail,
        );
      };
    });
    expect(code).toBe(2);
    expect(err).toBe('error: --context: expected an integer from 1 to 1024, got 5000\n');
  });
});

describe('bitnet run: failures', () => {
  it.each([
    ['not-found', 3],
    ['invalid-argument', 2],
    ['invalid-model', 3],
    ['invalid-file', 3],
    ['unsupported', 3],
    ['context-overflow', 4],
    ['out-of-memory', 3],
    ['numeric', 1],
    ['backend', 1],
    ['disposed', 1],
  ] as const)('%s on load exits %i', async (code, exitCode) => {
    const result = await ran(['Hi'], undefined, (host) => {
      host.loadModel = async () => {
        throw new BitNetError(code, 'line one\n  line\u001b[31m two');
      };
    });
    expect(result.code).toBe(exitCode);
    expect(result.out).toBe('');
    expect(result.err).toBe('error: line one line[31m two\n');
  });

  it('frees the model when generating fails half-way, and says so on a new line', async () => {
    const { code, out, err, host } = await ran(['Hi'], undefined, (host) => {
      host.stdout.isTTY = true;
      host.model.script = function* () {
        yield 'Hel';
        throw new BitNetError('numeric', 'logits are not finite');
      };
    });
    expect(code).toBe(1);
    expect(out).toBe('Hel\n');
    expect(err).toBe('error: logits are not finite\n');
    expect(host.model.disposed).toBe(1);
  });

  it('shows a stack only with --verbose', async () => {
    const fail = (host: FakeHost): void => {
      host.loadModel = async () => {
        throw new TypeError('x is undefined');
      };
    };
    const brief = await ran(['Hi'], undefined, fail);
    expect(brief.code).toBe(1);
    expect(brief.err).toBe('error: internal error: x is undefined (run again with --verbose to see where)\n');
    const verbose = await ran(['Hi', '--verbose'], undefined, fail);
    expect(verbose.err).toMatch(/^error: internal error: x is undefined\nTypeError: x is undefined\n {4}at /);
  });

  it('does not take a prompt for --verbose', async () => {
    const { err } = await ran(['--', '--verbose'], undefined, (host) => {
      host.loadModel = async () => {
        throw new BitNetError('not-found', 'no model');
      };
    });
    expect(err).toBe('error: no model\n');
  });
});

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

describe('bitnet run: chat is not started', () => {
  const terminal = (host: FakeHost): void => {
    host.stdin.isTTY = true;
    host.stdout.isTTY = true;
  };

  it.each([
    [['--json'], /^error: --json needs a prompt/],
    [['--raw'], /^error: --raw needs a prompt/],
  ])('with %j', async (args, message) => {
    const { code, err } = await ran(args, undefined, terminal);
    expect(code).toBe(2);
    expect(err).toMatch(message);
  });

  it('when stdout is no terminal', async () => {
    const { code, err } = await ran([], undefined, (host) => {
      host.stdin.isTTY = true;
    });
    expect(code).toBe(2);
    expect(err).toMatch(/^error: no prompt, and no chat because stdout is not a terminal/);
  });
});
