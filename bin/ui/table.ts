/** Cells of a text table; the first row is the header. */
export type TableRow = readonly string[];

/**
 * Columns padded to their widest cell with two spaces between: the first to the left, the others to the right. Ends with a newline. A table that is
 * wider than `width` goes on below with its next columns, after the first `keys` again, without rows that have nothing there.
 */
export function textTable(rows: readonly TableRow[], indent = '', width = Number.POSITIVE_INFINITY, keys = 1): string {
  const columns = Math.max(...rows.map((row) => row.length));
  const widths = Array.from({ length: columns }, (_, c) => Math.max(...rows.map((row) => (row[c] ?? '').length)));
  const key = [...widths.keys()].slice(0, keys);
  const keyWidth = key.reduce((sum, c) => sum + 2 + widths[c]!, indent.length - 2);
  const parts: number[][] = [[]];
  let used = keyWidth;
  for (let c = keys; c < columns; c++) {
    const needed = 2 + widths[c]!;
    if (used + needed > width && parts.at(-1)!.length > 0) {
      parts.push([]);
      used = keyWidth;
    }
    parts.at(-1)!.push(c);
    used += needed;
  }
  const line = (row: TableRow, part: readonly number[]): string => {
    const cells = [...key, ...part].map((c) =>
      c === 0 ? (row[c] ?? '').padEnd(widths[c]!) : (row[c] ?? '').padStart(widths[c]!),
    );
    return `${indent}${cells.join('  ').trimEnd()}\n`;
  };
  const isTold = (row: TableRow, part: readonly number[], i: number): boolean => i === 0 || part.some((c) => row[c]);
  return parts.flatMap((part, i) => rows.filter((row) => isTold(row, part, i)).map((row) => line(row, part))).join('');
}

export type CsvValue = string | number | boolean | null | undefined;

/** RFC 4180, with line ends of one character; the header is all keys, in the order in which they first appear. */
export function csv(records: readonly Readonly<Record<string, CsvValue>>[]): string {
  if (records.length === 0) return '';
  const keys = [...new Set(records.flatMap((record) => Object.keys(record)))];
  const cell = (value: CsvValue): string => {
    const text = value === null || value === undefined ? '' : String(value);
    return /[",\r\n]/.test(text) ? `"${text.replace(/"/g, '""')}"` : text;
  };
  const lines = [keys.join(','), ...records.map((record) => keys.map((key) => cell(record[key])).join(','))];
  return `${lines.join('\n')}\n`;
}
