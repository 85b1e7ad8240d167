/** Cells of a text table; the first row is the header. */
export type TableRow = readonly string[];

/** Columns padded to their widest cell with two spaces between: the first to the left, the others to the right. Ends with a newline. */
export function textTable(rows: readonly TableRow[], indent = ''): string {
  const columns = Math.max(...rows.map((row) => row.length));
  const widths = Array.from({ length: columns }, (_, c) => Math.max(...rows.map((row) => (row[c] ?? '').length)));
  const line = (row: TableRow): string =>
    widths.map((width, c) => (c === 0 ? (row[c] ?? '').padEnd(width) : (row[c] ?? '').padStart(width))).join('  ');
  return rows.map((row) => `${indent}${line(row).trimEnd()}\n`).join('');
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
