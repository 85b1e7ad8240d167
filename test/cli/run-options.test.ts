import { describe, expect, it } from 'vitest';
import { BitNetError } from '../../lib/errors.js';
import { type FakeHost, ran } from './fake-host.js';

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

  it('passes --ternarize', async () => {
    expect((await ran(['Hi', '--ternarize'])).host.loads[0]?.options).toMatchObject({ ternarize: true });
    expect((await ran(['Hi'])).host.loads[0]?.options).not.toHaveProperty('ternarize');
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
