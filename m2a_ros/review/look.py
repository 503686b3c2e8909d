"""How reports look: style sheet, the little script that opens moments, and the frame of a page."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from m2a_core import __version__

STYLE = """
:root{color-scheme:light dark;--bg:#f7f8fa;--panel:#fff;--ink:#16191d;--muted:#59626d;--line:#dde1e6;--grid:#eceff2;
--accent:#0b62a8;--alarm:#c2410c;--good:#0f766e;--warn:#8a5a00;--soft:#e8f0f8;--bad-soft:#fdeee6}
@media(prefers-color-scheme:dark){:root{--bg:#101317;--panel:#181c22;--ink:#e9ecf0;--muted:#a3adb8;--line:#303741;
--grid:#262c34;--accent:#6bb4f2;--alarm:#fb8b55;--good:#4fc9bd;--warn:#e5b454;--soft:#1c2a38;--bad-soft:#3a2219}}
*{box-sizing:border-box}html{scroll-behavior:smooth;-webkit-text-size-adjust:100%}
@media(prefers-reduced-motion:reduce){html{scroll-behavior:auto}}
body{margin:0;background:var(--bg);color:var(--ink);font:16px/1.55 system-ui,-apple-system,"Segoe UI",Roboto,
"DejaVu Sans",sans-serif}
main,header{max-width:1160px;margin:0 auto;padding:0 1.25rem}header{padding-top:2.2rem}main{padding-bottom:4rem}
h1{font-size:1.75rem;line-height:1.2;letter-spacing:-.015em;margin:0 0 .3rem;overflow-wrap:anywhere}
h2{font-size:1.2rem;letter-spacing:-.01em;margin:2.6rem 0 .8rem}h3{font-size:1rem;margin:1.4rem 0 .5rem}
p{margin:.4rem 0;max-width:75ch}.lead{font-size:1.08rem}.muted,figcaption,caption{color:var(--muted);font-size:.88rem}
a{color:var(--accent)}nav{display:flex;flex-wrap:wrap;gap:.2rem 1.1rem;margin:1rem 0 0;font-size:.93rem}
:focus-visible{outline:3px solid var(--accent);outline-offset:2px;border-radius:4px}
.cards{display:grid;grid-template-columns:repeat(auto-fill,minmax(8.6rem,1fr));gap:.7rem;margin:1.3rem 0 0;padding:0}
.card{background:var(--panel);border:1px solid var(--line);border-radius:10px;padding:.7rem .9rem;margin:0}
.card dt{color:var(--muted);font-size:.82rem}.card dd{margin:0;font-size:1.35rem;white-space:nowrap;font-weight:650;
font-variant-numeric:tabular-nums;letter-spacing:-.01em}.card small{color:var(--muted);font-size:.78rem}
.panel{background:var(--panel);border:1px solid var(--line);border-radius:10px;padding:1rem;margin:.7rem 0}
.two{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,26rem),1fr));gap:.8rem}
.two .panel{margin:0}figure{margin:0}svg{display:block;width:100%;height:auto}svg text{fill:var(--muted);
font:12px system-ui,"DejaVu Sans",sans-serif}svg .strong{fill:var(--ink);font-weight:600;
paint-order:stroke;stroke:var(--panel);stroke-width:4px}
.scroll{overflow-x:auto}table{border-collapse:collapse;width:100%;font-size:.9rem;font-variant-numeric:tabular-nums}
caption{text-align:left;padding:0 0 .5rem}th,td{padding:.4rem .7rem;text-align:right;border-top:1px solid var(--line);
white-space:nowrap}th{font-weight:600}thead th{border-top:0;color:var(--muted);font-size:.84rem}
th:first-child,td:first-child,.left{text-align:left}.mark td,.mark th{background:var(--soft)}
.wrap td,.wrap th{white-space:normal;overflow-wrap:anywhere;text-align:left}
code{font:.87em ui-monospace,"DejaVu Sans Mono",monospace;overflow-wrap:anywhere}
.shots{display:grid;grid-template-columns:repeat(auto-fill,minmax(15rem,1fr));gap:.8rem;list-style:none;padding:0;margin:0}
.shot{display:block;background:var(--panel);border:1px solid var(--line);border-radius:10px;overflow:hidden;
color:inherit;text-decoration:none}.shot:hover{border-color:var(--accent)}
.shot img{display:block;width:100%;aspect-ratio:16/9;
object-fit:cover;background:#000}.shot span{display:block;padding:.5rem .75rem .6rem;font-size:.88rem}
.shot b{display:block}.notice{border-left:4px solid var(--alarm);background:var(--bad-soft);padding:.6rem .9rem;
border-radius:0 8px 8px 0;margin:.7rem 0}.notice p{margin:.15rem 0}
dialog{border:1px solid var(--line);border-radius:12px;padding:0;background:var(--panel);color:var(--ink);
width:min(60rem,94vw);max-height:94vh}dialog::backdrop{background:rgb(0 0 0/.65)}
dialog header{display:flex;justify-content:space-between;align-items:start;gap:1rem;padding:.8rem 1rem;max-width:none}
dialog h3{margin:0}dialog video,dialog img{display:block;width:100%;max-height:70vh;object-fit:contain;background:#000}
dialog p{padding:.2rem 1rem .8rem;margin:0}button{font:inherit;color:inherit;background:var(--soft);
border:1px solid var(--line);border-radius:8px;padding:.35rem .8rem;cursor:pointer}
.bar{fill:var(--accent)}.event{fill:var(--alarm)}.seen{fill:var(--line)}.found{fill:var(--good)}.grid{stroke:var(--grid)}
.axis{stroke:var(--line);fill:none}.curve{fill:none;stroke:var(--accent);stroke-width:2.2;stroke-linejoin:round}
.curve2{fill:none;stroke:var(--alarm);stroke-width:2.2;stroke-linejoin:round}.road{fill:none;stroke:var(--muted);
stroke-width:2.5;stroke-linejoin:round;stroke-linecap:round}.dot{fill:var(--alarm);stroke:var(--panel);stroke-width:1.5}
.car{fill:var(--accent);stroke:var(--panel);stroke-width:1.5}svg a:hover rect,svg a:hover circle{opacity:.75}
.verdict{font-size:1.3rem;font-weight:650;line-height:1.35;max-width:60ch}.good{color:var(--good)}.bad{color:var(--alarm)}
@media print{nav,dialog{display:none}body{background:#fff}}
"""

SCRIPT = """
const open=()=>{const d=document.getElementById(decodeURIComponent(location.hash.slice(1)));
if(!(d instanceof HTMLDialogElement)||d.open)return;d.showModal();const v=d.querySelector('video');
if(v)v.play().catch(()=>{});};
for(const d of document.querySelectorAll('dialog')){d.addEventListener('close',()=>{const v=d.querySelector('video');
if(v)v.pause();history.replaceState(null,'',location.pathname+location.search);});
d.addEventListener('click',e=>{if(e.target===d)d.close();});
d.querySelector('button').addEventListener('click',()=>d.close());}
addEventListener('hashchange',open);open();
"""


def page(title: str, lead: str, sections: Sequence[tuple[str, str, str]], dialogs: str = "") -> str:
    """A whole page in one file that loads nothing.

    Args:
        title: heading.
        lead: HTML below it.
        sections: anchor, heading and HTML of each; those without HTML are left out.
        dialogs: HTML of the dialogs that anchors open.
    """
    shown = [(anchor, heading, body) for anchor, heading, body in sections if body]
    links = "".join(f'<a href="#{anchor}">{escape(heading)}</a>' for anchor, heading, _ in shown)
    bodies = "".join(
        f'<section aria-labelledby="{anchor}"><h2 id="{anchor}">{escape(heading)}</h2>{body}</section>'
        for anchor, heading, body in shown
    )
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1"><link rel="icon" href="data:,">'
        f"<title>{escape(title)}</title><style>{STYLE}</style></head><body>"
        f'<header><h1>{escape(title)}</h1>{lead}<nav aria-label="Sections">{links}</nav></header>'
        f'<main>{bodies}<p class="muted">Written by m2a {__version__}.</p></main>{dialogs}'
        f"<script>{SCRIPT}</script></body></html>\n"
    )


def table(caption: str, head: Sequence[str], rows: Sequence[Sequence[str]], mark: int | None = None) -> str:
    """A table of HTML cells; the first of a row is its heading, row ``mark`` stands out."""
    if not rows:
        return ""
    top = "".join(f'<th scope="col">{escape(name)}</th>' for name in head)
    body = ""
    for number, row in enumerate(rows):
        cells = "".join(f"<td>{cell}</td>" for cell in row[1:])
        kind = ' class="mark"' if number == mark else ""
        body += f'<tr{kind}><th scope="row">{row[0]}</th>{cells}</tr>'
    return (
        f'<div class="panel scroll" tabindex="0" role="region" aria-label="{escape(caption)}"><table>'
        f"<caption>{escape(caption)}</caption><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def cards(entries: Sequence[tuple[str, str, str]]) -> str:
    """Figures in large type: name, value and a remark each."""
    items = "".join(
        f'<div class="card"><dt>{escape(name)}</dt><dd>{escape(value)}</dd><small>{escape(remark)}</small></div>'
        for name, value, remark in entries
    )
    return f'<dl class="cards">{items}</dl>'


def notice(lines: Sequence[str]) -> str:
    """What a reader must not miss; nothing without lines."""
    texts = "".join(f"<p>{escape(line)}</p>" for line in lines)
    return f'<div class="notice" role="note">{texts}</div>' if lines else ""


def figure(value: float | None, digits: int = 3) -> str:
    """A number in the report; a dash where it is undefined."""
    return "–" if value is None else f"{value:.{digits}f}"


def percent(value: float | None, digits: int = 1) -> str:
    """A fraction as percent."""
    return "–" if value is None else f"{100 * value:.{digits}f} %"
