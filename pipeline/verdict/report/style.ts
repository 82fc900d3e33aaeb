/**
 * The style sheet of a report: one column on a telephone, several where there is room, light and dark by the
 * reader's own setting.
 * @module
 */

/** CSS, inlined into every report. */
export const STYLE = `
:root{color-scheme:light dark;--bg:#fbfbfa;--card:#fff;--ink:#1c1e21;--soft:#62666d;--edge:#e3e4e6;--grid:#ececee;
--base:#8a8f98;--warm:#c77700;--tuned:#1668dc;--other:#8446c9;--good:#17803d;--bad:#c4302b;--code:#f4f4f5}
@media(prefers-color-scheme:dark){:root{--bg:#121316;--card:#1a1c20;--ink:#e7e8ea;--soft:#9aa0a8;--edge:#2c2f35;
--grid:#272a30;--base:#9aa0a9;--warm:#f0a434;--tuned:#5b9dff;--other:#b98af0;--good:#4cc274;--bad:#ff7b72;--code:#222529}}
*{box-sizing:border-box}
body{margin:0;background:var(--bg);color:var(--ink);font:16px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,sans-serif;
overflow-wrap:anywhere}
main{max-width:1240px;margin:0 auto;padding:28px 16px 64px}
h1{font-size:1.05rem;font-weight:600;margin:0 0 2px}
h2{font-size:1.15rem;margin:40px 0 12px}
p{margin:0 0 10px}
.meta{color:var(--soft);font-size:.86rem;display:flex;flex-wrap:wrap;gap:2px 16px}
.sentence{font-size:clamp(1.15rem,2.6vw,1.6rem);line-height:1.38;margin:22px 0 8px;max-width:62ch;text-wrap:pretty}
.notes{color:var(--soft);font-size:.9rem;margin:12px 0 0;padding-left:1.1em;max-width:80ch}
.cards{display:grid;gap:14px;grid-template-columns:repeat(auto-fit,minmax(min(100%,440px),1fr))}
.charts{display:grid;gap:14px;grid-template-columns:repeat(auto-fit,minmax(min(100%,270px),1fr))}
.card,.chart{background:var(--card);border:1px solid var(--edge);border-radius:10px;padding:14px 16px;margin:0;min-width:0}
.card{overflow-x:auto}
.card h3,.chart figcaption{font-size:.9rem;font-weight:600;margin:0 0 8px}
.chart figcaption{display:flex;justify-content:space-between;gap:8px}
.chart b{color:var(--tuned);white-space:nowrap}
.chart svg{display:block;width:100%;height:auto;max-height:300px;overflow:visible}
.tick{fill:var(--soft);font-size:11px;font-variant-numeric:tabular-nums}
.grid{stroke:var(--grid)}.zero{stroke:var(--soft)}
.line path{fill:none;stroke:currentColor;stroke-width:2.2;stroke-linejoin:round;stroke-linecap:round}
.line circle{fill:currentColor}.line .band{stroke:none;fill:currentColor;opacity:.16}
.c0{color:var(--tuned)}.c1{color:var(--warm)}.c2{color:var(--other)}
.bar{display:grid;grid-template-columns:132px minmax(80px,1fr) 9.8em;gap:0 14px;align-items:center}
.bar>span{line-height:1.15}.bar .value{white-space:nowrap}
.bar .name{font-size:.9rem}.bar .value{font-size:.84rem;color:var(--soft);font-variant-numeric:tabular-nums}
.track{width:100%;height:38px;display:block;overflow:visible;color:var(--other)}
.axis .track{height:14px}
.track circle{fill:currentColor}.whisker{stroke:currentColor;stroke-width:5;stroke-linecap:round;opacity:.45}
.base{color:var(--base)}.warm_start{color:var(--warm)}.tuned{color:var(--tuned)}
.track.gain{color:var(--good)}.track.loss{color:var(--bad)}.track.none{color:var(--base)}
@media(max-width:560px){.bar{grid-template-columns:1fr auto}.bar .track{height:24px}.bar>span{padding:4px 0 0}.bar .track{grid-column:1/-1;grid-row:2}.axis span{display:none}
.axis .track{grid-row:1}.bar .value{text-align:right}}
table{border-collapse:collapse;width:100%;font-size:.9rem}
th,td{text-align:right;padding:6px 0 6px 10px;border-bottom:1px solid var(--edge);font-variant-numeric:tabular-nums;vertical-align:top}
th:first-child,td:first-child{text-align:left;padding-left:0}
@media(max-width:560px){table{font-size:.82rem}th:not(:first-child),td{white-space:normal}td small{font-size:.72rem}}
thead th{overflow-wrap:break-word;font-size:.8rem;color:var(--soft);font-weight:600;border-bottom-color:var(--soft)}
tbody tr:last-child>*{border-bottom:0}
tbody th{font-weight:400}
td small{color:var(--soft);display:block}
details{background:var(--card);border:1px solid var(--edge);border-radius:10px;margin:0 0 10px;padding:0 16px}
summary{cursor:pointer;padding:12px 0;display:flex;flex-wrap:wrap;gap:4px 14px;align-items:baseline}
summary .task{flex:1 1 280px;font-weight:500}
.marks{display:flex;flex-wrap:wrap;gap:0 12px;font-size:.84rem}
.ok{color:var(--good)}.no{color:var(--bad)}.void{color:var(--soft)}
.side{display:grid;gap:14px;grid-template-columns:repeat(auto-fit,minmax(min(100%,270px),1fr));padding-bottom:14px}
.side>section{border-top:3px solid var(--other);padding-top:8px;min-width:0}
.side>.p-base{border-color:var(--base)}.side>.p-warm_start{border-color:var(--warm)}.side>.p-tuned{border-color:var(--tuned)}
.side h3{font-size:.9rem;margin:0 0 8px}
pre{white-space:pre-wrap;overflow-wrap:anywhere;font:12.5px/1.45 ui-monospace,SFMono-Regular,Menlo,Consolas,monospace;
background:var(--code);border-radius:6px;padding:7px 9px;margin:0 0 6px}
pre.tool{border-left:3px solid var(--edge);background:none;color:var(--soft)}
pre.bad{border-left-color:var(--bad)}
.list{margin:0 0 6px;padding:0;list-style:none;font-size:.92rem}
.list li{padding:7px 0;border-bottom:1px solid var(--edge);display:grid;grid-template-columns:2.6em 1fr;gap:0 10px}
.list li:last-child{border-bottom:0}
.list b{text-align:right;font-variant-numeric:tabular-nums;font-weight:600}
.list small{color:var(--soft);display:block;font-size:.84rem}
.health{display:grid;gap:0 14px;margin:0}
.health div{display:grid;grid-template-columns:4.6em minmax(150px,1fr) minmax(160px,1.1fr) 3fr;gap:0 14px;padding:8px 0;border-bottom:1px solid var(--edge);font-size:.9rem}
.health div:last-child{border-bottom:0}.health dt,.health dd{margin:0;min-width:0}.health dt{order:1}
.health .state{order:0}.health .figure{order:2;color:var(--soft);font-variant-numeric:tabular-nums}.health .words{order:3}
.chip{font-size:.76rem;font-weight:600;border:1px solid currentColor;border-radius:99px;padding:1px 9px;white-space:nowrap}
.chip.ok{color:var(--good)}.chip.watch{color:var(--warm)}.chip.act{color:var(--bad)}
.setup{display:grid;grid-template-columns:max-content 1fr;gap:5px 18px;margin:0;font-size:.9rem}
.setup dt{color:var(--soft)}.setup dd{margin:0;min-width:0}
@media(max-width:720px){.health div{grid-template-columns:auto 1fr}.health .figure,.health .words{grid-column:1/-1}
.setup{grid-template-columns:1fr;gap:0}.setup dd{margin-bottom:8px}}
.kind{font-size:.76rem;color:var(--soft);text-transform:uppercase;letter-spacing:.04em;min-width:7.2em}
.thumbs{border:0;padding:0;margin:8px 0 0;display:flex;flex-wrap:wrap;gap:6px;min-width:0}
.thumbs[hidden],#labels[hidden],.thumbs input[hidden]{display:none}
button{font:inherit;font-size:.84rem;color:var(--ink);background:none;border:1px solid var(--edge);border-radius:8px;padding:3px 12px;cursor:pointer}
button[aria-pressed=true]{border-color:currentColor;background:var(--code);font-weight:600}
.thumbs .up[aria-pressed=true]{color:var(--good)}.thumbs .down[aria-pressed=true]{color:var(--bad)}
.thumbs input{flex:1 1 12em;min-width:0;font:inherit;font-size:.84rem;color:var(--ink);background:var(--bg);border:1px solid var(--edge);border-radius:8px;padding:3px 10px}
#labels{position:sticky;bottom:12px;margin:16px 0 0;background:var(--card);border:1px solid var(--soft);border-radius:10px;padding:10px 16px;
display:flex;flex-wrap:wrap;gap:6px 16px;align-items:center;font-size:.88rem}
.why{font-size:.84rem;color:var(--soft);margin:0 0 4px}
.under{margin-top:8px}.health code{font-size:.88em}
.tag{font-size:.78rem;color:var(--soft);border:1px solid var(--edge);border-radius:99px;padding:0 8px}
footer{margin-top:44px;color:var(--soft);font-size:.84rem}
code{font:.92em ui-monospace,Menlo,Consolas,monospace}
`;
