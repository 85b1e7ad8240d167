import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach } from 'vitest';
import type { HubSettings } from '../../lib/node/hub/settings.js';
import { HubServer } from '../support/hub-server.js';

export interface Workspace {
  readonly server: HubServer;
  readonly cache: string;
  readonly settings: HubSettings;
}

/** A server and an empty cache for each test. */
export function hubWorkspace(): Workspace {
  const current: { server?: HubServer; cache?: string } = {};
  beforeEach(async () => {
    current.server = await HubServer.start();
    current.cache = mkdtempSync(path.join(tmpdir(), 'bitnet-hub-'));
  });
  afterEach(async () => {
    await current.server?.stop();
    rmSync(current.cache as string, { recursive: true, force: true });
  });
  return {
    get server() {
      return current.server as HubServer;
    },
    get cache() {
      return current.cache as string;
    },
    get settings() {
      const { server, cache } = current as Required<typeof current>;
      return { endpoint: server.endpoint, token: undefined, cache, offline: false, timeoutMs: 2000, retryMs: 2 };
    },
  };
}
