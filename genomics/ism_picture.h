/* In-silico mutagenesis as a figure: lines of a sequence logo, the reference bases, a heat map and genomic coordinates,
 * with a title and a colour scale. */
#ifndef DNA_ISM_PICTURE_H
#define DNA_ISM_PICTURE_H
#include "core/picture.h"
#include "genomics/ism.h"

enum { DNA_ISM_MOST_SITES = 1000, DNA_ISM_LINE_SITES = 120 }; /* of a picture, of a line of it */

typedef struct dna_ism_figure {
    const dna_ism *m;
    const dna_region *region;
    const char *title, *subtitle;
    const char *effect;     /* what the colours are, with the unit */
    const char *importance; /* what the letters' heights are where there is no distribution */
} dna_ism_figure;

/* MB_RANGE, with advice, for more sites than can be read. */
int dna_ism_draw(mb_picture **out, const dna_ism_figure *f, mb_err *e) MB_MUST_USE;

/* For tests: outlines of A C G T, the colour of an effect on a scale of +-limit, the scale's limit, ticks of an axis.
 */
extern const mb_outline dna_letter_outline[4];
mb_colour dna_effect_colour(double effect, double limit);
/* The 98th percentile of the sizes of the effects as dna_nice_ceiling has it; 1 when there is none. */
double dna_effect_limit(const dna_ism *m);
/* The least of 1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 6, 8 times a power of ten that is not less than x; 1 for x = 0. */
double dna_nice_ceiling(double x);
#endif
