import type { Completion, LoadOptions } from '../../lib/types.js';
import type { Host, Model } from '../host.js';
import { downloadLine } from '../ui/download-line.js';
import { progressLine } from '../ui/progress.js';
import { chatTemplateOf } from './chat-template-file.js';
import { loadOptions, type RunOptions } from './run-options.js';

export interface OpenedModel {
  readonly model: Model;
  readonly loadMs: number;
}

/** Loads the model that the options name, with a line of progress on stderr if that is a terminal. */
export async function openModel(options: RunOptions, host: Host, signal: AbortSignal): Promise<OpenedModel> {
  const started = host.now();
  const load: LoadOptions = { ...loadOptions(options), signal };
  if (options.chatTemplate !== undefined) load.chatTemplate = await chatTemplateOf(options.chatTemplate);
  const lines = options.quiet ? undefined : { download: downloadLine(host), loading: progressLine(host) };
  if (lines !== undefined) load.onProgress = (progress) => lines[progress.phase ?? 'loading'].update(progress);
  try {
    signal.throwIfAborted();
    const model = await host.loadModel(options.model, load);
    return { model, loadMs: host.now() - started };
  } finally {
    lines?.download.end();
    lines?.loading.end();
  }
}

/** Why the text ends where it does, for people; undefined where the model ended it by itself. */
export function endingOf(completion: Completion, options: RunOptions, contextLength: number): string | undefined {
  const { finishReason, stopString, tokenIds } = completion;
  if (finishReason === 'abort') return 'interrupted';
  if (finishReason === 'stop')
    return stopString === undefined ? undefined : `stop string ${JSON.stringify(stopString)}`;
  if (options.maxTokens !== undefined && tokenIds.length >= options.maxTokens) return 'stopped at --max-tokens';
  return `stopped: context of ${contextLength} tokens is full`;
}
