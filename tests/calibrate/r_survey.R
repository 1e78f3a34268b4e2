# Reference weights of survey::calibrate for tests/calibrate/test_survey.py.
#   Rscript r_survey.R > r_survey.json
# Data are made by a formula; the factor q is one over the variance of survey::calibrate.
suppressMessages({library(survey); library(jsonlite)})
n <- 60
k <- seq_len(n)
age <- 20 + (7 * k) %% 60
income <- 10 + ((37 * k) %% 101) + 0.25 * ((11 * k) %% 13)
region <- factor(c("a", "b", "c")[1 + (5 * k) %% 3])
design <- 5 + ((13 * k) %% 17) / 2
data <- data.frame(age, income, region, design)
x <- model.matrix(~ region + age + income, data)
shift <- c(1.04, 1.10, 0.95, 1.06, 1.02)
totals <- colSums(x * design) * shift
names(totals) <- colnames(x)
plain <- svydesign(ids = ~1, weights = ~design, data = data)
spread <- 1 + ((3 * k) %% 5) / 4
run <- function(calfun, ...) {
  fitted <- calibrate(plain, ~ region + age + income, population = totals, calfun = calfun,
                      epsilon = 1e-14, maxit = 500, ...)
  as.numeric(weights(fitted))
}
cases <- list(
  list(name = "linear", method = "linear", bounds = NULL, q = FALSE, weights = run("linear")),
  list(name = "linear with variances", method = "linear", bounds = NULL, q = TRUE,
       weights = run("linear", variance = spread)),
  list(name = "linear within bounds", method = "linear", bounds = c(0.9, 1.25), q = FALSE,
       weights = run("linear", bounds = c(0.9, 1.25))),
  list(name = "raking", method = "raking", bounds = NULL, q = FALSE, weights = run("raking")),
  list(name = "raking with variances", method = "raking", bounds = NULL, q = TRUE,
       weights = run("raking", variance = spread)),
  list(name = "logit", method = "logit", bounds = c(0.5, 1.8), q = FALSE,
       weights = run("logit", bounds = c(0.5, 1.8))),
  list(name = "logit, narrow", method = "logit", bounds = c(0.85, 1.3), q = FALSE,
       weights = run("logit", bounds = c(0.85, 1.3)))
)
out <- list(
  versions = list(R = as.character(getRversion()), survey = as.character(packageVersion("survey"))),
  x = unname(x), design = design, totals = unname(totals), variance = spread, cases = cases
)
cat(toJSON(out, digits = NA, auto_unbox = TRUE, null = "null"), "\n")
