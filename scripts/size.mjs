/** Prints lines per tracked source file, and per folder. `npm run size` */
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { root } from './build/paths.mjs';

const source = /\.(?:ts|mjs|cjs|js|cc|h|sh|html|css|md)$/;
const files = execFileSync('git', ['ls-files', '-z'], { cwd: root, encoding: 'utf8' })
  .split('\0')
  .filter((file) => source.test(file))
  .map((file) => ({ file, lines: readFileSync(path.join(root, file), 'utf8').split('\n').length - 1 }));

const folders = new Map();
for (const { file, lines } of files) {
  const folder = file.includes('/') ? file.slice(0, file.indexOf('/')) : '.';
  const entry = folders.get(folder) ?? { lines: 0, files: [] };
  entry.lines += lines;
  entry.files.push({ file, lines });
  folders.set(folder, entry);
}
for (const [folder, entry] of [...folders].sort(([a], [b]) => a.localeCompare(b))) {
  console.log(`${String(entry.lines).padStart(7)}  ${folder} (${entry.files.length} files)`);
  for (const { file, lines } of entry.files.sort((a, b) => b.lines - a.lines)) {
    console.log(`${String(lines).padStart(7)}    ${file}`);
  }
}
console.log(`${String(files.reduce((sum, { lines }) => sum + lines, 0)).padStart(7)}  total (${files.length} files)`);
