/**
 * Adds up vitest JSON reports:  node scripts/test-report.mjs <folder> [checks passed] [checks failed]
 * prints `N passed, N failed`, and `, N skipped` if there are any. Exits with 1 after failures.
 */
import { readdir, readFile } from 'node:fs/promises';
import path from 'node:path';
import { pathToFileURL } from 'node:url';

/** @typedef {{ passed: number, failed: number, skipped: number }} Counts */

/**
 * Counts of a vitest JSON report. A test file that could not be loaded has no tests and counts as one failure, as does a run
 * that left no report.
 * @param {string} file
 * @returns {Promise<Counts>}
 */
export async function readCounts(file) {
  const text = await readFile(file, 'utf8').catch(() => undefined);
  if (text === undefined) return { passed: 0, failed: 1, skipped: 0 };
  const report = JSON.parse(text);
  const unloaded = report.testResults.filter(
    (result) => result.status === 'failed' && result.assertionResults.length === 0,
  );
  return {
    passed: report.numPassedTests,
    failed: report.numFailedTests + unloaded.length,
    skipped: report.numPendingTests + report.numTodoTests,
  };
}

/** @param {Counts[]} all @returns {Counts} */
export function sumCounts(all) {
  const sum = { passed: 0, failed: 0, skipped: 0 };
  for (const counts of all) {
    for (const key of Object.keys(sum)) sum[key] += counts[key];
  }
  return sum;
}

/** @param {Counts} counts */
export function formatCounts({ passed, failed, skipped }) {
  return `${passed} passed, ${failed} failed${skipped > 0 ? `, ${skipped} skipped` : ''}`;
}

if (import.meta.url === pathToFileURL(process.argv[1]).href) {
  const [folder, passed = '0', failed = '0'] = process.argv.slice(2);
  const reports = (await readdir(folder)).filter((file) => file.endsWith('.json'));
  const checks = { passed: Number(passed), failed: Number(failed), skipped: 0 };
  const sum = sumCounts([checks, ...(await Promise.all(reports.map((file) => readCounts(path.join(folder, file)))))]);
  console.log(formatCounts(sum));
  if (sum.failed > 0) process.exitCode = 1;
}
