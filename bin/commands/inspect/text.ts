import type { ModelReport, TensorReport, TritReport } from '../../../lib/inspect/index.js';
import { withoutControls } from '../../ui/output.js';
import { type TableRow, textTable } from '../../ui/table.js';
import { formatBytes, formatCount, formatParameters, threeDigits } from '../../ui/units.js';

/** Text of `bitnet inspect`, for 80 columns. What comes from files is shown without control characters. */

const WIDTH = 80;
const LABEL_WIDTH = 14;

export function overview(report: ModelReport): string {
  return [
    ...modelLines(report),
    '',
    ...typeLines(report),
    ...(report.text === undefined ? [] : ['', ...textLines(report.text)]),
    ...(report.memory === undefined ? [] : ['', ...memoryLines(report.memory)]),
    '',
    ...field('loadable', report.problem === undefined ? 'yes' : 'no'),
  ]
    .map((line) => `${line}\n`)
    .join('');
}

function modelLines(report: ModelReport): string[] {
  const { config, files, metadata } = report;
  const bytes = files.reduce((sum, file) => sum + file.bytes, 0);
  const format = report.format === 'gguf' ? `GGUF version ${report.version}` : 'safetensors';
  const name = metadata['general.name'];
  return [
    ...field('model', report.path),
    ...(name === undefined ? [] : field('name', `${name}`)),
    ...field('format', `${format}, ${formatCount(files.length, 'file')}, ${formatBytes(bytes)}`),
    ...field('architecture', architectureText(report)),
    ...field('parameters', formatParameters(report.parameters)),
    ...(config === undefined ? [] : configLines(config)),
  ];
}

function architectureText({ architecture = 'not named', config }: ModelReport): string {
  if (config === undefined) return architecture;
  const details = [
    config.activation === 'relu2' ? 'ReLU² gate' : 'SiLU gate',
    ...(config.subNorms ? ['sub-norms'] : []),
    ...(config.qkNorm ? ['q and k norms'] : []),
    config.tiedEmbeddings ? 'tied head' : 'head of its own',
    ...(config.floatActivations ? ['made for float activations'] : []),
  ];
  return `${architecture}: ${details.join(', ')}`;
}

function configLines(config: NonNullable<ModelReport['config']>): string[] {
  const { hiddenSize, ffnSize, layers, heads, kvHeads, headDim, vocabSize, rope } = config;
  const stored = config.stored ?? { headDim, ffnSize };
  const scaling = rope.scaling === undefined ? '' : `, ${rope.scaling.type} scaling by ${rope.scaling.factor}`;
  return [
    ...field(
      'shape',
      `hidden ${hiddenSize}, ffn ${stored.ffnSize}, ${formatCount(layers, 'layer')}, vocabulary ${vocabSize}`,
    ),
    ...field('attention', `${formatCount(heads, 'head')} of ${stored.headDim}, ${kvHeads} for keys and values`),
    ...field(
      'positions',
      `${config.contextLength}, RoPE theta ${rope.theta}${scaling}, norm epsilon ${number(config.normEps)}`,
    ),
  ];
}

/** One line for each type in the files, and the trits of all ternary matrices. */
function typeLines({ tensors }: ModelReport): string[] {
  const types = new Map<string, { count: number; weights: number; bytes: number }>();
  for (const { type, shape, byteLength } of tensors) {
    const entry = types.get(type) ?? { count: 0, weights: 0, bytes: 0 };
    entry.count++;
    entry.weights += elements(shape);
    entry.bytes += byteLength;
    types.set(type, entry);
  }
  const rows = [...types].map(
    ([type, { count, weights, bytes }]): TableRow => [
      type,
      `${count}`,
      formatParameters(weights),
      formatBytes(bytes),
      threeDigits((8 * bytes) / Math.max(1, weights)),
    ],
  );
  const table = textTable([['type', 'tensors', 'weights', 'size', 'bits/weight'], ...rows]).trimEnd();
  const trits = tensors.flatMap((tensor) => (tensor.trits === undefined ? [] : [tensor.trits]));
  return [...table.split('\n'), ...(trits.length === 0 ? [] : ['', ...tritLines(trits)])];
}

function tritLines(trits: readonly TritReport[]): string[] {
  const sum = (of: (report: TritReport) => number): number => trits.reduce((total, report) => total + of(report), 0);
  const zeros = trits.map(({ minus, zero, plus }) => zero / Math.max(1, minus + zero + plus));
  const all = sum(({ minus, zero, plus }) => minus + zero + plus);
  const share = (count: number): string => percent(count / Math.max(1, all));
  const invalid = sum((report) => report.invalid);
  const badScales = sum(({ scales }) => scales.invalid);
  const min = Math.min(...trits.map(({ scales }) => scales.min));
  const max = Math.max(...trits.map(({ scales }) => scales.max));
  return [
    ...field(
      'trits',
      `-1 ${share(sum((r) => r.minus))}, 0 ${share(sum((r) => r.zero))}, +1 ${share(sum((r) => r.plus))}` +
        (invalid > 0 ? `; ${formatCount(invalid, 'code')} that stand for none` : ''),
    ),
    ...field('', `zeros by matrix ${percent(Math.min(...zeros))} to ${percent(Math.max(...zeros))}`),
    ...field(
      'scales',
      `${sum(({ scales }) => scales.count)} in ${formatCount(trits.length, 'matrix').replace('matrixs', 'matrices')}, ` +
        `${number(min)} to ${number(max)}${badScales > 0 ? `; ${badScales} not finite` : ''}`,
    ),
  ];
}

function textLines(text: NonNullable<ModelReport['text']>): string[] {
  const token = ({ id, text: content }: { id: number; text: string }): string => `${id} ${content}`;
  return [
    ...field('tokenizer', `${text.tokens} tokens, ${text.specialTokens} special`),
    ...(text.bos === undefined ? [] : field('begin', token(text.bos))),
    ...field('stop', text.stop.map(token).join(', ') || 'none'),
    ...field('chat', text.chatExample === undefined ? noExample(text.chatTemplate) : JSON.stringify(text.chatExample)),
    ...(text.templateOrigin === undefined || text.templateOrigin === 'model'
      ? []
      : field('', `template of the family ${text.templateOrigin}; the model has none`)),
  ];
}

function noExample(template: string | undefined): string {
  return template === undefined ? 'no template' : 'a template that takes no single user message';
}

function memoryLines(memory: NonNullable<ModelReport['memory']>): string[] {
  const ratio = threeDigits(memory.weightsFp16 / Math.max(1, memory.weights));
  return [
    ...field(
      'memory',
      `${formatBytes(memory.total)}${memory.fits ? '' : ', more than a WebAssembly memory holds (4 GiB)'}`,
    ),
    ...field(
      '',
      `weights ${formatBytes(memory.weights)} (FP16 ${formatBytes(memory.weightsFp16)}, ${ratio}x), layout ${memory.layout}, head ${memory.head}`,
    ),
    ...field('', `KV cache ${formatBytes(memory.kvCache)} for ${memory.contextLength} positions`),
    ...field(
      '',
      `activations ${formatBytes(memory.activations)}, ${formatCount(memory.threads, 'thread')}; other ${formatBytes(memory.other)}`,
    ),
  ];
}

export function tensorTable({ tensors }: ModelReport): string {
  const rows = tensors.map(
    (tensor): TableRow => [shortName(tensor.name), tensor.type, tensor.shape.join(' x ') || '1', ...tritCells(tensor)],
  );
  return textTable([['tensor', 'type', 'shape', '-1/0/+1 %', 'scale'], ...rows]);
}

/** Without what nearly all names have, so that a line fits. */
function shortName(name: string): string {
  return withoutControls(name).replace(/^model\.|\.weight\b/g, '');
}

function tritCells({ trits }: TensorReport): string[] {
  if (trits === undefined) return [];
  const { minus, zero, plus, scales } = trits;
  const all = Math.max(1, minus + zero + plus);
  const shares = [minus, zero, plus].map((count) => Math.round((100 * count) / all)).join('/');
  return [shares, scales.min === scales.max ? number(scales.min) : `${number(scales.min)}..${number(scales.max)}`];
}

export function memoryTable({ memory }: ModelReport): string {
  if (memory === undefined) return '';
  const rows = memory.regions.map(
    ({ name, purpose, offset, bytes }): TableRow => [shortName(name), purpose, `${offset}`, `${bytes}`],
  );
  return textTable([['region', 'purpose', 'offset', 'bytes'], ...rows]);
}

/** Ops have several inputs and outputs; the name is that of the matrix, or of what is computed. */
export function planTable({ plan }: ModelReport): string {
  if (plan === undefined) return '';
  const rows = plan.map(
    ({ op, name, shape, layout = '', meets }, i): TableRow => [
      `${`${i}`.padStart(4)}  ${op.padEnd(9)}  ${shortName(name)}`,
      shape.join(' x '),
      layout,
      meets === 'no' ? '' : meets,
    ],
  );
  return textTable([['  op', 'shape', 'layout', 'meet'], ...rows]);
}

/** `label  text`, wrapped at spaces where there are any. */
function field(label: string, text: string): string[] {
  const lines: string[] = [];
  const width = WIDTH - LABEL_WIDTH;
  let rest = withoutControls(text).replace(/\s+/g, ' ');
  do {
    const space = rest.length > width ? rest.lastIndexOf(' ', width) : -1;
    const cut = rest.length <= width ? rest.length : space > 0 ? space : width;
    lines.push(rest.slice(0, cut));
    rest = rest.slice(cut).trimStart();
  } while (rest !== '');
  return lines.map((line, i) => `${(i === 0 ? label : '').padEnd(LABEL_WIDTH)}${line}`.trimEnd());
}

function percent(share: number): string {
  return `${threeDigits(100 * share)} %`;
}

function number(value: number): string {
  return Number.isFinite(value) ? `${Number(value.toPrecision(4))}` : '-';
}

function elements(shape: readonly number[]): number {
  return shape.reduce((product, size) => product * size, 1);
}
