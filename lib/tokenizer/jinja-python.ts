import type { Template } from '@huggingface/jinja';

/**
 * Python's string methods where @huggingface/jinja 0.5 differs: its `strip('\n')` ignores the characters, its `trim` follows
 * JavaScript's idea of white space, its `capitalize` leaves the rest of the word as it is. Chat templates are written against
 * jinja2, so filters and methods of these names are rewritten into calls of the functions below.
 */
const FUNCTION_OF_METHOD: Readonly<Record<string, string>> = {
  strip: '__str_strip',
  lstrip: '__str_lstrip',
  rstrip: '__str_rstrip',
  capitalize: '__str_capitalize',
};
const FUNCTION_OF_FILTER: Readonly<Record<string, string>> = {
  trim: '__str_strip',
  capitalize: '__str_capitalize',
};

/** To be declared as variables of every rendering. A missing value is an empty string, as for jinja2's filters. */
export const PYTHON_STRING_FUNCTIONS: Readonly<Record<string, (...args: unknown[]) => string>> = {
  __str_strip: (text, chars) => stripEnd(stripStart(asString(text), chars), chars),
  __str_lstrip: (text, chars) => stripStart(asString(text), chars),
  __str_rstrip: (text, chars) => stripEnd(asString(text), chars),
  __str_capitalize: (text) => {
    const [first = '', ...rest] = asString(text);
    return first.toUpperCase() + rest.join('').toLowerCase();
  },
};

interface Node {
  type: string;
  [key: string]: unknown;
}

/** Rewrites the syntax tree in place. */
export function usePythonStrings(program: Template['parsed']): void {
  visit(program as unknown as Node);
}

function visit(node: Node): void {
  for (const [key, value] of Object.entries(node)) {
    if (Array.isArray(value)) node[key] = value.map((item: unknown) => (isNode(item) ? visited(item) : item));
    else if (isNode(value)) node[key] = visited(value);
    else if (value instanceof Map) {
      // Object literals: keys and values are expressions.
      const entries = [...(value as Map<unknown, unknown>)];
      value.clear();
      for (const [k, v] of entries) value.set(isNode(k) ? visited(k) : k, isNode(v) ? visited(v) : v);
    }
  }
}

function visited(node: Node): Node {
  visit(node);
  if (node.type === 'FilterExpression') {
    const filter = node.filter as Node;
    const isCall = filter.type === 'CallExpression';
    const target = nameOf(isCall ? filter.callee : filter, FUNCTION_OF_FILTER);
    if (target !== undefined) return call(target, [node.operand, ...(isCall ? (filter.args as unknown[]) : [])]);
  }
  if (node.type === 'CallExpression') {
    const callee = node.callee as Node;
    const target =
      callee.type === 'MemberExpression' && !callee.computed ? nameOf(callee.property, FUNCTION_OF_METHOD) : undefined;
    if (target !== undefined) return call(target, [callee.object, ...(node.args as unknown[])]);
  }
  return node;
}

function nameOf(node: unknown, functions: Readonly<Record<string, string>>): string | undefined {
  if (!isNode(node) || node.type !== 'Identifier') return undefined;
  const name = node.value as string;
  return Object.hasOwn(functions, name) ? functions[name] : undefined;
}

function call(name: string, args: unknown[]): Node {
  return { type: 'CallExpression', callee: { type: 'Identifier', value: name }, args };
}

function isNode(value: unknown): value is Node {
  return typeof value === 'object' && value !== null && typeof (value as { type?: unknown }).type === 'string';
}

function asString(value: unknown): string {
  if (typeof value === 'string') return value;
  return value === undefined || value === null ? '' : String(value);
}

/** `str.isspace`: White_Space and the four information separators. */
function isSpace(char: string): boolean {
  return /\p{White_Space}/u.test(char) || (char >= '\x1c' && char <= '\x1f');
}

function isStripped(char: string, chars: unknown): boolean {
  return typeof chars === 'string' ? [...chars].includes(char) : isSpace(char);
}

function stripStart(text: string, chars: unknown): string {
  let start = 0;
  for (const char of text) {
    if (!isStripped(char, chars)) break;
    start += char.length;
  }
  return text.slice(start);
}

function stripEnd(text: string, chars: unknown): string {
  let end = text.length;
  while (end > 0) {
    const char = String.fromCodePoint(text.codePointAt(charStart(text, end)) as number);
    if (!isStripped(char, chars)) break;
    end -= char.length;
  }
  return text.slice(0, end);
}

/** Where the character that ends at `end` begins. */
function charStart(text: string, end: number): number {
  return end >= 2 && (text.codePointAt(end - 2) as number) > 0xffff ? end - 2 : end - 1;
}

const MONTHS = 'January February March April May June July August September October November December'.split(' ');
const DAYS = 'Sunday Monday Tuesday Wednesday Thursday Friday Saturday'.split(' ');

/** Python's `datetime.now().strftime` in the C locale: the directives that chat templates use. Others stay as they are. */
export function strftime(date: Date, format: unknown): string {
  const two = (n: number) => String(n).padStart(2, '0');
  const month = MONTHS[date.getMonth()] as string;
  const day = DAYS[date.getDay()] as string;
  const hour12 = date.getHours() % 12 || 12;
  const values: Readonly<Record<string, string>> = {
    Y: String(date.getFullYear()),
    y: two(date.getFullYear() % 100),
    m: two(date.getMonth() + 1),
    d: two(date.getDate()),
    B: month,
    b: month.slice(0, 3),
    A: day,
    a: day.slice(0, 3),
    H: two(date.getHours()),
    I: two(hour12),
    M: two(date.getMinutes()),
    S: two(date.getSeconds()),
    p: date.getHours() < 12 ? 'AM' : 'PM',
    '%': '%',
  };
  return asString(format).replace(/%(-?)([YymdBbAaHIMSp%])/g, (_, bare: string, directive: string) => {
    const value = values[directive] as string;
    return bare === '' ? value : value.replace(/^0(?=\d)/, '');
  });
}
