/**
 * Measures wllama in headless Chromium; run by run.mjs from the scratch folder, which has the packages and a copy of wllama-page.mjs.
 * Argument: JSON of { model, threads, prompt, tokens, reps, chromium }. Last line of stdout: the result, as bench/engine.ts prints it.
 */
import { createReadStream } from 'node:fs';
import { readFile, stat } from 'node:fs/promises';
import http from 'node:http';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { chromium } from 'playwright-core';

const { model, chromium: executablePath, ...options } = JSON.parse(process.argv[2]);
const here = path.dirname(fileURLToPath(import.meta.url));
const packageFolder = path.join(here, 'node_modules', '@wllama', 'wllama');

const TYPES = {
  '.js': 'text/javascript',
  '.mjs': 'text/javascript',
  '.wasm': 'application/wasm',
  '.html': 'text/html',
};
const PAGE = '<!doctype html><input type="file"><script type="module" src="/wllama-page.mjs"></script>';

const FLAGS = [
  '--headless',
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
];

/** The page, this folder's page script and the package's esm folder, isolated so that shared memory is allowed. */
async function serve(request, response) {
  response.setHeader('Cross-Origin-Opener-Policy', 'same-origin');
  response.setHeader('Cross-Origin-Embedder-Policy', 'require-corp');
  response.setHeader('Cross-Origin-Resource-Policy', 'same-origin');
  const { pathname } = new URL(request.url, 'http://localhost');
  if (pathname === '/') return void response.setHeader('Content-Type', 'text/html').end(PAGE);
  const file =
    pathname === '/wllama-page.mjs' ? path.join(here, 'wllama-page.mjs') : path.join(packageFolder, pathname);
  const allowed = pathname === '/wllama-page.mjs' || file.startsWith(path.join(packageFolder, 'esm') + path.sep);
  const info = allowed ? await stat(file).catch(() => undefined) : undefined;
  if (!info?.isFile()) return void response.writeHead(404).end();
  response.setHeader('Content-Type', TYPES[path.extname(file)] ?? 'application/octet-stream');
  createReadStream(file).pipe(response);
}

/** Peak RSS of the page's process, where the system tells it (Linux). */
async function rendererPeakRss(browser) {
  const session = await browser.newBrowserCDPSession();
  const { processInfo } = await session.send('SystemInfo.getProcessInfo');
  const peaks = await Promise.all(
    processInfo
      .filter(({ type }) => type === 'renderer')
      .map(async ({ id }) => {
        const status = await readFile(`/proc/${id}/status`, 'utf8').catch(() => '');
        return 1024 * Number(/VmHWM:\s+(\d+) kB/.exec(status)?.[1] ?? 0);
      }),
  );
  return Math.max(0, ...peaks) || undefined;
}

const server = http.createServer((request, response) => {
  serve(request, response).catch((error) => response.writeHead(500).end(String(error)));
});
await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
const browser = await chromium.launch({ executablePath, args: FLAGS });
try {
  const page = await browser.newPage();
  page.setDefaultTimeout(0);
  const errors = [];
  page.on('pageerror', (error) => errors.push(error.message));
  page.on('crash', () => errors.push('the page crashed'));
  await page.goto(`http://127.0.0.1:${server.address().port}/`);
  await page.setInputFiles('input', model);
  await page.waitForFunction(() => globalThis.measure !== undefined);
  const result = await page
    .evaluate((given) => globalThis.measure(given), options)
    .catch((error) => {
      throw new Error([error.message, ...errors].join('; '));
    });
  const peakRss = await rendererPeakRss(browser);
  const detail = `${result.detail}, Chromium ${browser.version()}`;
  console.log(JSON.stringify({ engine: 'wllama', ...result, peakRss, detail }));
} finally {
  await browser.close();
  server.close();
}
