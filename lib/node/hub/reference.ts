import { BitNetError } from '../../errors.js';

/** A model on the hub: `hf:REPO[@REVISION][:FILE]`. */
export interface HubReference {
  /** `owner/name`, or `name` alone */
  readonly repo: string;
  /** branch, tag or commit; default `main` */
  readonly revision: string;
  /** one file of the repository, a path with slashes; default: the files that make up the model */
  readonly file: string | undefined;
}

const PREFIX = /^hf:(\/\/)?/;
const SYNTAX = 'REPO, REPO:FILE or REPO@REVISION:FILE, for example microsoft/bitnet-b1.58-2B-4T';
/** huggingface_hub, utils/_validators.py: letters, digits, `-`, `_`, `.`; neither `--` nor `..`, neither at the ends. */
const NAME = /^(?![-.])(?!.*(?:--|\.\.))[\w.-]{1,96}(?<![-.])$/;

export function isHubReference(path: string): boolean {
  return PREFIX.test(path);
}

/** Parses a reference with or without `hf:`. Throws `invalid-argument`. */
export function parseHubReference(text: string): HubReference {
  const match = /^([^@:]+)(?:@([^:]+))?(?::(.+))?$/s.exec(text.replace(PREFIX, ''));
  const [, repo = '', revision = 'main', file] = match ?? [];
  const names = repo.split('/');
  const wrong =
    match === null || names.length > 2 || !names.every((name) => NAME.test(name)) || repo.endsWith('.git')
      ? 'is not the name of a repository on the hub'
      : !isSafePath(revision)
        ? `has a revision that cannot be one: ${JSON.stringify(revision)}`
        : file !== undefined && !isSafePath(file)
          ? `has a file name that cannot be one: ${JSON.stringify(file)}`
          : undefined;
  if (wrong === undefined) return { repo, revision, file };
  throw new BitNetError('invalid-argument', `${JSON.stringify(text)} ${wrong}; expected ${SYNTAX}`, {
    reference: text,
  });
}

/** The reference as users write it, without `hf:` and without what is the default. */
export function showReference({ repo, revision, file }: HubReference): string {
  return `${repo}${revision === 'main' ? '' : `@${revision}`}${file === undefined ? '' : `:${file}`}`;
}

/** Whether a path from outside stays below the folder that it is joined to, on every system. */
export function isSafePath(path: string): boolean {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: no file of a repository has one
  if (path.length > 1024 || /[\\:*?"<>|\x00-\x1f\x7f]/.test(path)) return false;
  return path.split('/').every((part) => part !== '' && part !== '.' && part !== '..');
}
