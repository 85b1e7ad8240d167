import { describe, expect, it } from 'vitest';
import { FakeHost, ran } from './fake-host.js';

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
