/**
 * The words of the example. Each is one token of SmolLM2's vocabulary after a quote, after a slash and at the start of
 * a line, so that copying a name is never a matter of spelling. Held-out words appear in no other split.
 * @module
 */

/** Words of one side: names of files, names of folders, contents of files, and pairs of answers for flags. */
export interface Words {
  files: string[];
  folders: string[];
  contents: string[];
  flags: [string, string][];
}

const list = (text: string) => text.trim().split(/\s+/);

/** Words of training and validation. */
export const seen: Words = {
  files: list(`
    river stone cloud forest planet engine window bridge castle market wallet camera paper letter stamp bucket
    rain snow wind ash dust sand rock coal glass wood salt sugar bread apple corn milk wine horse owl fish wolf
    tree leaf seed moon song story sign map chart clock bell table brush spring stream winter summer fire clay plastic
    metal oil cookie berry bean wheat oat water cat dog pig crow ant bee fox mouse rat bat sun sky earth grass bush
    pine king driver teacher writer artist actor model hero friend baby child head hand foot arm leg eye ear nose
    mouth tooth neck brain blood skin hair finger ball game book page music note list word code key lock
    wall wire plug switch motor gear chain string thread net hook nail bolt nut pan pot bath bed watch horn radio
    phone screen board printer disk chip robot lens shell echo wave signal shape circle square cross arrow edge
  `),
  folders: list(`
    box bag package tower port park farm bank hall room store library station school museum shop house lake hill field
    city town bay camp inn mill stage court office lab ward church lane channel dam well tank pool folder safe
    case rack deck nest den yard base cell block unit zone area region state world manual guide report record
  `),
  contents: list(`
    red blue green yellow black white small large short long open closed empty full new old clean dry hot cold soft
    hard fast slow quiet sharp bright dark deep high low wide tall tiny great early late quick rough smooth plain
    simple complex kind wise smart broken fixed tight rich poor rare common public private secret famous
    foreign modern current final single double half whole total solid liquid frozen raw sweet hidden visible clear
    fair equal right wrong true false real fake good bad safe
  `),
  flags: [
    ["yes", "no"],
    ["left", "right"],
    ["day", "night"],
    ["hot", "cold"],
    ["open", "closed"],
    ["true", "false"],
    ["north", "south"],
    ["first", "last"],
    ["high", "low"],
    ["good", "bad"],
  ],
};

/** Words that only the held-out scenarios use. */
export const unseen: Words = {
  files: list(`
    ocean button chair comb marker canvas frame storm mud iron orange melon rice snake lion bear flower root star
    doctor guard heart bone card
  `),
  folders: list("home ship plane train pipe plate cup boat track gate floor oven"),
  contents: list("brown purple gray young fresh wet warm cool heavy flat round thick thin strong wild"),
  flags: [["up", "down"], ["happy", "free"]],
};
