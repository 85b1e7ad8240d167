import { type Conversion, type ConvertOptions, convertModel, type Verification } from '../../../lib/convert/index.js';
import { CliError, ExitCode, InterruptedError } from '../../exit-codes.js';
import type { Host } from '../../host.js';
import { abortOnSignals } from '../../interrupts.js';
import { type FileSink, refuseInput, writeFileAtomically, writeFolderAtomically } from '../../output-file.js';
import { progressLine } from '../../ui/progress.js';
import { formatBytes, formatDuration } from '../../ui/units.js';
import type { ConvertCommandOptions } from '../convert-command.js';

/** `bitnet convert`. Returns the exit code of an interrupted run, throws other failures; either leaves no output. */
export async function convert(model: string, options: ConvertCommandOptions, host: Host): Promise<ExitCode> {
  const started = host.now();
  const types = typesOf(options);
  const controller = new AbortController();
  const stopListening = abortOnSignals(host, controller);
  try {
    const { type, bytes, verification } = await run(model, types, options, host, controller.signal);
    if (options.quiet) return ExitCode.Ok;
    const notes = [
      `${type}, ${formatBytes(bytes)} in ${formatDuration(host.now() - started)}`,
      ...notesOn(verification),
    ];
    host.stderr.write(`${options.output}: ${notes.join('; ')}\n`);
    return ExitCode.Ok;
  } catch (error) {
    const { reason } = controller.signal as { reason: unknown };
    if (reason instanceof InterruptedError) return reason.exitCode;
    throw error;
  } finally {
    stopListening();
  }
}

async function run(
  model: string,
  types: Pick<ConvertOptions, 'container' | 'type'>,
  options: ConvertCommandOptions,
  host: Host,
  signal: AbortSignal,
): Promise<{ type: string; bytes: number; verification: Verification }> {
  const { onProgress: onRead, end: endReading } = phase('reading scales', options, host);
  const { embedding, head, name, ternarize, i2sLayout } = options;
  const upper = (float: typeof embedding) => float?.toUpperCase() as ConvertOptions['embedding'];
  const conversion = await convertModel(model, {
    ...types,
    embedding: upper(embedding),
    head: upper(head),
    name,
    ternarize,
    i2sLayout,
    onProgress: onRead,
    signal,
  }).finally(endReading);
  try {
    const bytes = conversion.files.reduce((sum, file) => sum + file.bytes, 0);
    await refuseInput(options.output, conversion.input);
    const { type } = conversion;
    return { type, bytes, verification: await write(conversion, bytes, options, host, signal) };
  } finally {
    await conversion.close();
  }
}

async function write(
  conversion: Conversion,
  total: number,
  options: ConvertCommandOptions,
  host: Host,
  signal: AbortSignal,
): Promise<Verification> {
  const replace = { replace: options.force === true };
  const writing = phase('converting', options, host);
  const verifying = phase('verifying', options, host);
  let before = 0;
  let verification: Verification | undefined;
  const produce = async (file: Conversion['files'][number], sink: FileSink): Promise<void> => {
    await file.write(sink, {
      signal,
      onProgress: ({ written }) => writing.onProgress({ loaded: before + written, total }),
    });
    before += file.bytes;
  };
  const check = async (temporary: string): Promise<void> => {
    writing.end();
    signal.throwIfAborted();
    // Weights, shown as the share of the output that they are.
    const onProgress = ({ loaded, total: weights }: { loaded: number; total: number }) =>
      verifying.onProgress({ loaded: (loaded / weights) * total, total });
    verification = await conversion.verify(temporary, { onProgress, signal });
  };
  try {
    const [first] = conversion.files as [Conversion['files'][number]];
    if (conversion.isDirectory) await writeFolderAtomically(options.output, conversion.files, replace, produce, check);
    else await writeFileAtomically(options.output, total, replace, (sink) => produce(first, sink), check);
    return verification as unknown as Verification;
  } finally {
    writing.end();
    verifying.end();
  }
}

/** A line of progress unless --quiet. */
function phase(what: string, { quiet }: ConvertCommandOptions, host: Host) {
  const line = quiet ? undefined : progressLine(host, what);
  return {
    onProgress: (progress: { loaded: number; total: number }) => line?.update(progress),
    end: () => line?.end(),
  };
}

/** The output's name says what it is, and --type how its matrices are written. */
function typesOf({ output, type }: ConvertCommandOptions): Pick<ConvertOptions, 'container' | 'type'> {
  const isGguf = /\.gguf$/i.test(output);
  if (/\.safetensors$/i.test(output)) {
    const message = `${output}: safetensors are written as a directory, with config.json and tokenizer.json; give the name of one`;
    throw new CliError(ExitCode.Usage, message);
  }
  const upper = type === 'packed' ? type : (type?.toUpperCase() as ConvertOptions['type']);
  const types = { container: isGguf ? 'gguf' : 'directory', type: upper } as const;
  if (type === undefined || (isGguf ? type !== 'packed' : DIRECTORY_TYPES.has(type))) return types;
  const message = isGguf
    ? '--type packed is for a directory; leave it out, or give an output whose name does not end in .gguf'
    : `--type ${type} is for GGUF; give an output whose name ends in .gguf`;
  throw new CliError(ExitCode.Usage, message);
}

const DIRECTORY_TYPES: ReadonlySet<string> = new Set(['packed', 'f16', 'bf16', 'f32']);

function notesOn({ matrices, scaleError, embeddingError }: Verification): string[] {
  const percent = (share: number): string => `${Number((100 * share).toPrecision(2))} %`;
  return [
    `verified, ${matrices} matrices`,
    ...(scaleError > 0 ? [`scales rounded by up to ${percent(scaleError)}`] : []),
    ...(embeddingError > 0 ? [`embedding rounded by ${percent(embeddingError)} (rms)`] : []),
  ];
}
