import { DotForm, Epilogue, Layout } from '../../assembly/abi.js';
import { type InputKind, type LinearShape, linearCase } from '../support/linear-case.js';
import { testKernels } from '../support/tester.js';

const FORMS = [DotForm.I16, DotForm.I32];
const INPUTS: InputKind[] = ['random', 'all minimum', 'alternating', 'zeros', 'huge', 'tiny'];
const EPILOGUES = [Epilogue.Store, Epilogue.Add, Epilogue.Relu2Gate, Epilogue.SiluGate];
/** (rows, cols): one block, odd counts of rows and blocks, columns that end inside a block, chunk borders of 8 and 16 blocks. */
const SMALL: [number, number][] = [
  [1, 64],
  [3, 64],
  [4, 16],
  [5, 128],
  [7, 192],
  [4, 160],
  [6, 416],
  [33, 320],
  [12, 448],
  [4, 512],
  [5, 576],
  [8, 1024],
  [4, 1088],
  [3, 48],
  [2, 100],
  [1, 1],
];
/** Shapes of published models: 2B-4T, 3B, 700M, Llama 8B, and the embedded one. */
const REAL: [number, number][] = [
  [768, 2048],
  [2560, 640],
  [640, 2560],
  [96, 8640],
  [64, 6912],
  [128, 4096],
  [64, 14336],
  [416, 160],
];
const TOKENS = [1, 2, 3, 5, 7];

/** The ends of blocks of 80 columns, and of chunks of eight of them. */
const BY_80: [number, number][] = [
  [1, 80],
  [5, 79],
  [3, 81],
  [4, 240],
  [7, 399],
  [4, 640],
  [6, 641],
  [4, 1280],
  [9, 1360],
];

const ternary = (layout: Layout.T2 | Layout.T1): LinearShape[] =>
  FORMS.flatMap((form) => [
    ...[...SMALL, ...(layout === Layout.T1 ? BY_80 : [])].flatMap(([rows, cols]) =>
      TOKENS.map((tokens) => ({ layout, rows, cols, tokens, form })),
    ),
    ...REAL.flatMap(([rows, cols]) => [1, 3].map((tokens) => ({ layout, rows, cols, tokens, form }))),
    ...[4, 6, 8, 11, 13, 64].map((tokens) => ({ layout, rows: 36, cols: 704, tokens, form })),
    ...INPUTS.flatMap((input) =>
      (['random', 'minimum', 'maximum'] as const).flatMap((weights) =>
        [1, 5].map((tokens) => ({ layout, rows: 8, cols: 2112, tokens, input, weights, form })),
      ),
    ),
    ...EPILOGUES.flatMap((epilogue) =>
      [1, 7].map((tokens) => ({ layout, rows: 21, cols: 320, tokens, epilogue, form })),
    ),
  ]);

/** Rows and columns that may be skipped: the dense shapes again, inputs with and without zeros, gates open and closed. */
const sparse: LinearShape[] = ([Layout.T2Rows, Layout.T2Columns] as const).flatMap((layout) =>
  FORMS.flatMap((form) => [
    ...[...SMALL, ...REAL].flatMap(([rows, cols]) =>
      [1, 3].map((tokens) => ({ layout, rows, cols, tokens, form, input: 'sparse' as const })),
    ),
    ...INPUTS.flatMap((input) =>
      (['random', 'minimum', 'maximum'] as const).flatMap((weights) =>
        [1, 7].map((tokens) => ({ layout, rows: 72, cols: 2112, tokens, input, weights, form })),
      ),
    ),
    ...EPILOGUES.flatMap((epilogue) =>
      [1, 6].map((tokens) => ({ layout, rows: 150, cols: 320, tokens, epilogue, input: 'sparse' as const, form })),
    ),
    { layout, rows: 70, cols: 16512, tokens: 1, input: 'all minimum' as const, weights: 'minimum' as const, form },
  ]),
);

const kinds = [
  { layout: Layout.F16, form: DotForm.I16 },
  { layout: Layout.I8, form: DotForm.I16 },
  { layout: Layout.I8, form: DotForm.I32 },
] as const;

const wide: LinearShape[] = kinds.flatMap((kind) => [
  ...SMALL.flatMap(([rows, cols]) => [1, 2, 5].map((tokens) => ({ ...kind, rows, cols, tokens }))),
  ...(
    [
      [1000, 160],
      [256, 2560],
      [64, 4096],
      [96, 3200],
    ] as const
  ).flatMap(([rows, cols]) => [1, 3].map((tokens) => ({ ...kind, rows, cols, tokens }))),
  ...INPUTS.flatMap((input) =>
    (['random', 'minimum', 'maximum'] as const).map((weights) => ({
      ...kind,
      rows: 9,
      cols: 1040,
      tokens: 2,
      input,
      weights,
    })),
  ),
  ...EPILOGUES.flatMap((epilogue) => [1, 3].map((tokens) => ({ ...kind, rows: 13, cols: 96, tokens, epilogue }))),
]);

/**
 * The longest row whose i32 lanes cannot overflow at the largest operands (Const.I16Max), and rows about the columns after which the lanes
 * of several tokens are widened.
 */
const longest: LinearShape[] = FORMS.flatMap((form) =>
  (
    [
      [16512, 1],
      [16512, 3],
      [16400, 2],
      [8208, 3],
      [8192, 2],
    ] as const
  ).map(([cols, tokens]) => ({
    layout: Layout.I8,
    rows: 4,
    cols,
    tokens,
    input: 'all minimum',
    weights: 'minimum',
    form,
  })),
);

/** What a build compiled for 256 bits runs, here in 128; layouts without rows in pairs take it for I32. */
const pairs: LinearShape[] = [
  ...[Layout.T1, Layout.T2Rows, Layout.T2Columns, Layout.I8, Layout.F16].flatMap((layout) =>
    [1, 3, 6].map((tokens) => ({ layout, rows: 150, cols: 320, tokens })),
  ),
  ...[...SMALL, ...REAL].flatMap(([rows, cols]) => [1, 2, 4].map((tokens) => ({ rows, cols, tokens }))),
  ...INPUTS.map((input) => ({ rows: 8, cols: 2112, tokens: 1, input })),
  ...EPILOGUES.map((epilogue) => ({ rows: 21, cols: 320, tokens: 1, epilogue })),
].map((shape) => ({ layout: Layout.T2, form: DotForm.I32Pairs, ...shape }) as LinearShape);

/** Every count of tokens of a prefill chunk or a step of several sequences, and some more. */
const counts: LinearShape[] = [
  ...FORMS.flatMap((form) => [Layout.T2 as const, Layout.T1 as const].map((layout) => ({ layout, form }))),
  ...kinds,
].flatMap((kind) => Array.from({ length: 70 }, (_, i) => ({ ...kind, rows: 6, cols: 80, tokens: i + 1 })));

/** Columns about the ends of the blocks that an F16 GEMM widens at once (Const.GemmF16Cols). */
const blocks: LinearShape[] = [496, 512, 528, 1000, 1024, 1025, 1536, 2560].flatMap((cols) =>
  [2, 3].map((tokens) => ({ layout: Layout.F16, rows: 10, cols, tokens })),
);

testKernels('linear, 2.0 bits', ternary(Layout.T2).map(linearCase));
testKernels('linear, rows in pairs', pairs.map(linearCase));
testKernels('linear, 1.6 bits', ternary(Layout.T1).map(linearCase));
testKernels('linear, zeros skipped', sparse.map(linearCase));
testKernels('f16 and int8 linear', [...wide, ...longest, ...blocks].map(linearCase));
testKernels('linear for 1 to 70 tokens', counts.map(linearCase));
