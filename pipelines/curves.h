/* metrics.jsonl of training steps, as curves. */
#ifndef PIPE_CURVES_H
#define PIPE_CURVES_H
#include "core/page.h"
#include "core/yaml.h"

/* Reads a metrics.jsonl and adds a chart of the loss over steps, training and held out. Nothing when the file is not
 * there or holds no loss. */
int pipe_curves_add(mb_page *page, const char *path, const char *title, mb_err *e) MB_MUST_USE;
#endif
