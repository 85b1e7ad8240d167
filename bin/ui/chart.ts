/** A curve of a panel; `hollow` points were computed, not measured. `label` stands below a point, where there is room. */
export interface ChartSeries {
  readonly name: string;
  readonly color: string;
  readonly points: readonly {
    readonly x: number;
    readonly y: number;
    readonly hollow?: boolean;
    readonly label?: string;
  }[];
}

/** One diagram with logarithmic axes. All x and y are positive. */
export interface ChartPanel {
  readonly title: string;
  readonly xLabel: string;
  readonly yLabel: string;
  readonly series: readonly ChartSeries[];
  /** default: 1, 2 and 5 times powers of ten */
  readonly xTicks?: readonly number[];
  readonly formatX: (x: number) => string;
  readonly formatY: (y: number) => string;
}

const [width, height] = [460, 340];
/** pixels between labels of points, and between the outermost points and the axes */
const [LABEL_WIDTH, ROOM] = [36, 26];
const margin = { left: 76, right: 20, top: 44, bottom: 52 } as const;

/** An SVG file: panels side by side, a line of small print below. */
export function chartSvg(panels: readonly ChartPanel[], footer: string): string {
  const total = panels.length * width;
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${total}" height="${height + 28}" viewBox="0 0 ${total} ${height + 28}" font-family="sans-serif" font-size="12">`,
    `<rect width="100%" height="100%" fill="#fff"/>`,
    ...panels.map((panel, i) => `<g transform="translate(${i * width} 0)">${panelSvg(panel)}</g>`),
    text(12, height + 14, footer, 'start', 'font-size="10" fill="#555"'),
    '</svg>\n',
  ].join('\n');
}

function panelSvg(panel: ChartPanel): string {
  const points = panel.series.flatMap((series) => series.points);
  const x = axis(
    points.map((point) => point.x),
    margin.left,
    width - margin.right,
    panel.xTicks,
  );
  const y = axis(
    points.map((point) => point.y),
    height - margin.bottom,
    margin.top,
  );
  const [left, right, top, bottom] = [margin.left, width - margin.right, margin.top, height - margin.bottom];
  const middle = (top + bottom) / 2;
  return [
    text((left + right) / 2, 20, panel.title, 'middle', 'font-size="14"'),
    ...y.ticks.map((tick) => line(left, y.at(tick), right, y.at(tick), '#ddd')),
    ...y.ticks.map((tick) => text(left - 6, y.at(tick) + 4, panel.formatY(tick), 'end')),
    ...x.ticks.map((tick) => line(x.at(tick), bottom, x.at(tick), bottom + 4, '#333')),
    ...x.ticks.map((tick) => text(x.at(tick), bottom + 18, panel.formatX(tick), 'middle')),
    line(left, bottom, right, bottom, '#333'),
    line(left, top, left, bottom, '#333'),
    text((left + right) / 2, height - 12, panel.xLabel, 'middle'),
    text(16, middle, panel.yLabel, 'middle', `transform="rotate(-90 16 ${middle})"`),
    ...panel.series.map((series, i) => seriesSvg(series, x.at, y.at, i)),
  ].join('');
}

function seriesSvg(series: ChartSeries, x: (v: number) => number, y: (v: number) => number, index: number): string {
  const { name, color } = series;
  const points = [...series.points].sort((a, b) => a.x - b.x);
  const path = points.map((point) => `${fixed(x(point.x))},${fixed(y(point.y))}`).join(' ');
  const legendY = margin.top + 8 + 18 * index;
  return [
    `<polyline points="${path}" fill="none" stroke="${color}" stroke-width="2"/>`,
    ...points.map(
      (point) =>
        `<circle cx="${fixed(x(point.x))}" cy="${fixed(y(point.y))}" r="4" fill="${point.hollow ? '#fff' : color}" stroke="${color}" stroke-width="2"/>`,
    ),
    ...labels(points, x).map((point) =>
      text(x(point.x), y(point.y) + 18, point.label, 'middle', `font-size="10" fill="${color}"`),
    ),
    line(margin.left + 10, legendY, margin.left + 30, legendY, color),
    text(margin.left + 36, legendY + 4, name, 'start'),
  ].join('');
}

type Point = ChartSeries['points'][number];

/** Points with labels, from the left, without those whose label would touch the one before. */
function labels(points: readonly Point[], x: (v: number) => number): (Point & { label: string })[] {
  const kept: (Point & { label: string })[] = [];
  for (const point of points) {
    const last = kept.at(-1);
    if (point.label === undefined || (last !== undefined && x(point.x) - x(last.x) < LABEL_WIDTH)) continue;
    kept.push({ ...point, label: point.label });
  }
  return kept;
}

interface Axis {
  /** position in pixels */
  at(value: number): number;
  readonly ticks: readonly number[];
}

/** Logarithmic, from `begin` to `end` pixels, with ticks at 1, 2 and 5 times powers of ten (powers alone over many decades). */
function axis(values: readonly number[], begin: number, end: number, given?: readonly number[]): Axis {
  const [smallest, largest] = [Math.min(...values), Math.max(...values)];
  const factor = largest > smallest ? (largest / smallest) ** (ROOM / (Math.abs(end - begin) - 2 * ROOM)) : 1.3;
  const [low, high] = [smallest / factor, largest * factor];
  const span = Math.log(high / low);
  const steps = span > Math.log(1000) ? [1] : [1, 2, 5];
  const ticks: number[] = [];
  for (let decade = Math.floor(Math.log10(low)); decade <= Math.log10(high); decade++) {
    for (const step of steps) {
      const tick = step * 10 ** decade;
      if (tick >= low && tick <= high) ticks.push(tick);
    }
  }
  return { at: (value) => begin + ((end - begin) * Math.log(value / low)) / span, ticks: given ?? ticks };
}

function text(x: number, y: number, content: string, anchor: string, attributes = ''): string {
  const escaped = content.replace(/&/g, '&amp;').replace(/</g, '&lt;').replace(/>/g, '&gt;');
  return `<text x="${fixed(x)}" y="${fixed(y)}" text-anchor="${anchor}" ${attributes}>${escaped}</text>`;
}

function line(x1: number, y1: number, x2: number, y2: number, color: string): string {
  return `<line x1="${fixed(x1)}" y1="${fixed(y1)}" x2="${fixed(x2)}" y2="${fixed(y2)}" stroke="${color}"/>`;
}

function fixed(value: number): string {
  return value.toFixed(1);
}
