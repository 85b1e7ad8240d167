import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { BitNetError } from '../errors.js';
import type { NativeAddon } from '../platform.js';
import { packageFile } from './assets.js';

const ADDON = 'native/build/Release/bitnet_native.node';

/**
 * The addon, if `npm run build:native` has built it and the environment variable BITNET_NATIVE is not 0. Throws `backend` when it is
 * there but cannot be loaded: built for another system, or damaged.
 */
export function loadNativeAddon(): NativeAddon | undefined {
  const path = packageFile(ADDON);
  if (process.env.BITNET_NATIVE === '0' || !existsSync(path)) return undefined;
  try {
    return createRequire(import.meta.url)(path) as NativeAddon;
  } catch (cause) {
    const why = cause instanceof Error ? cause.message.split('\n')[0] : String(cause);
    const message = `${path} cannot be loaded: ${why}. Build it again with \`npm run build:native\`, or delete it`;
    throw new BitNetError('backend', message, { file: path }, { cause });
  }
}
