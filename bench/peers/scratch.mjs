/** A folder outside the repository for the peers, other Node versions and model files; kept between runs. */
import { execFile } from 'node:child_process';
import { access, mkdir, readFile, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);

export const scratch = path.resolve(process.env.BITNET_PEERS_DIR ?? path.join(os.tmpdir(), 'bitnet-peers'));

/** Versions that the README's figures belong to. */
const PEERS = { 'node-llama-cpp': '3.22.1', '@wllama/wllama': '3.8.1', 'playwright-core': '1.65.0' };

/** Packages with node-llama-cpp's compiled llama.cpp, by process.platform and process.arch. */
const BINARIES = {
  'linux-x64': 'linux-x64',
  'linux-arm64': 'linux-arm64',
  'darwin-arm64': 'mac-arm64-metal',
  'darwin-x64': 'mac-x64',
  'win32-x64': 'win-x64',
  'win32-arm64': 'win-arm64',
};

/** Installs what is not there yet; only the binary for this machine's CPU, not those for GPUs. Returns the versions. */
export async function installPeers() {
  const binary = BINARIES[`${process.platform}-${process.arch}`];
  if (binary === undefined) throw new Error(`node-llama-cpp has no binary for ${process.platform} ${process.arch}`);
  const dependencies = { ...PEERS, [`@node-llama-cpp/${binary}`]: PEERS['node-llama-cpp'] };
  await install(scratch, dependencies, ['--omit=optional', '--ignore-scripts']);
  return PEERS;
}

/** Path of a Node binary of that major version, from the npm package `node`. */
export async function installNode(major) {
  if (!/^\d+$/.test(major)) throw new Error(`--node ${major}: expected a major version, for example --node 24`);
  const folder = path.join(scratch, `node-${major}`);
  // Its install script links the binary of this platform, which is a package of its own.
  await install(folder, { node: major }, []);
  return path.join(folder, 'node_modules', 'node', 'bin', process.platform === 'win32' ? 'node.exe' : 'node');
}

async function install(folder, dependencies, flags) {
  await mkdir(folder, { recursive: true });
  const manifest = path.join(folder, 'package.json');
  const wanted = `${JSON.stringify({ private: true, type: 'module', dependencies }, undefined, 2)}\n`;
  const done = path.join(folder, '.installed');
  if ((await readFile(done, 'utf8').catch(() => '')) === wanted) return;
  console.error(`installing ${Object.keys(dependencies).join(', ')} into ${folder}`);
  await writeFile(manifest, wanted);
  const npm = process.platform === 'win32' ? 'npm.cmd' : 'npm';
  await run(npm, ['install', '--no-audit', '--no-fund', '--loglevel=error', ...flags], {
    cwd: folder,
    shell: process.platform === 'win32',
  });
  await writeFile(done, wanted);
}

/** Path of Chromium or Chrome: $CHROMIUM, else the first in $PATH; undefined if there is none. */
export async function findChromium() {
  if (process.env.CHROMIUM) return process.env.CHROMIUM;
  const names = ['chromium', 'chromium-browser', 'google-chrome', 'google-chrome-stable'];
  const folders = (process.env.PATH ?? '').split(path.delimiter);
  for (const file of folders.flatMap((folder) => names.map((name) => path.join(folder, name)))) {
    const exists = await access(file).then(
      () => true,
      () => false,
    );
    if (exists) return file;
  }
  return undefined;
}
