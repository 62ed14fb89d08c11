#include "pruning.hpp"

#include "duckdb/common/operator/comparison_operators.hpp"
#include "duckdb/common/value_operations/value_operations.hpp"
#include "duckdb/planner/expression/bound_between_expression.hpp"
#include "duckdb/planner/expression/bound_columnref_expression.hpp"
#include "duckdb/planner/expression/bound_comparison_expression.hpp"
#include "duckdb/planner/expression/bound_conjunction_expression.hpp"
#include "duckdb/planner/expression/bound_constant_expression.hpp"
#include "duckdb/planner/expression/bound_operator_expression.hpp"

namespace vstore {

using duckdb::Expression;
using duckdb::ExpressionClass;
using duckdb::ExpressionType;
using duckdb::Value;
using duckdb::ValueOperations;

namespace {

struct Place {
    const Segments &segments;
    idx_t at;
    const vector<const Column *> &columns;
};

// What is known of the column that an expression names; null: it is none, or nothing is.
const Bounds *BoundsOf(const Place &place, const Expression &expression) {
    if (expression.GetExpressionClass() != ExpressionClass::BOUND_COLUMN_REF) {
        return nullptr;
    }
    auto position = expression.Cast<duckdb::BoundColumnRefExpression>().binding.column_index;
    auto column = position < place.columns.size() ? place.columns[position] : nullptr;
    if (!column || !column->own.empty() || ScannedType(column->arrow) != expression.return_type) {
        return nullptr;
    }
    auto found = place.segments.bounds.find(column->id);
    return found == place.segments.bounds.end() ? nullptr : &found->second;
}

const Value *ConstantOf(const Expression &expression) {
    return expression.GetExpressionClass() == ExpressionClass::BOUND_CONSTANT
               ? &expression.Cast<duckdb::BoundConstantExpression>().value
               : nullptr;
}

// Whether no value of the segment compares so with `constant`. NaN is above all others, and in no bounds.
bool ExcludesComparison(const Place &place, ExpressionType comparison, const Bounds &bounds, const Value &constant) {
    auto at = place.at;
    if (constant.IsNull()) {
        return false;
    }
    auto &low = bounds.low[at], &high = bounds.high[at];
    bool may_be_nan = bounds.nan[at] != 0;
    bool is_low_known = !low.IsNull() && low.type() == constant.type();
    bool is_high_known = !high.IsNull() && high.type() == constant.type() && !may_be_nan;
    switch (comparison) {
    case ExpressionType::COMPARE_EQUAL:
        return (is_low_known && ValueOperations::LessThan(constant, low)) ||
               (is_high_known && ValueOperations::GreaterThan(constant, high));
    case ExpressionType::COMPARE_LESSTHAN:
        return is_low_known && ValueOperations::GreaterThanEquals(low, constant);
    case ExpressionType::COMPARE_LESSTHANOREQUALTO:
        return is_low_known && ValueOperations::GreaterThan(low, constant);
    case ExpressionType::COMPARE_GREATERTHAN:
        return is_high_known && ValueOperations::LessThanEquals(high, constant);
    case ExpressionType::COMPARE_GREATERTHANOREQUALTO:
        return is_high_known && ValueOperations::LessThan(high, constant);
    default:
        return false;
    }
}

bool ExcludesIn(const Place &place, const duckdb::BoundOperatorExpression &in) {
    auto bounds = BoundsOf(place, *in.children[0]);
    for (idx_t item = 1; bounds && item < in.children.size(); item++) {
        auto constant = ConstantOf(*in.children[item]);
        if (!constant || !ExcludesComparison(place, ExpressionType::COMPARE_EQUAL, *bounds, *constant)) {
            return false;
        }
    }
    return bounds && in.children.size() > 1;
}

bool ExcludesNulls(const Place &place, const duckdb::BoundOperatorExpression &is, bool wants_null) {
    auto bounds = BoundsOf(place, *is.children[0]);
    auto nulls = bounds ? bounds->nulls[place.at] : -1;
    return nulls >= 0 && (wants_null ? nulls == 0 : nulls >= place.segments.rows[place.at]);
}

bool ExcludesBetween(const Place &place, const duckdb::BoundBetweenExpression &between) {
    auto bounds = BoundsOf(place, *between.input);
    auto lower = ConstantOf(*between.lower), upper = ConstantOf(*between.upper);
    return bounds && ((lower && ExcludesComparison(place, between.LowerComparisonType(), *bounds, *lower)) ||
                      (upper && ExcludesComparison(place, between.UpperComparisonType(), *bounds, *upper)));
}

bool ExcludesAll(const Place &place, const Expression &filter) {
    switch (filter.GetExpressionClass()) {
    case ExpressionClass::BOUND_COMPARISON: {
        auto &comparison = filter.Cast<duckdb::BoundComparisonExpression>();
        auto bounds = BoundsOf(place, *comparison.left);
        auto constant = ConstantOf(*comparison.right);
        auto type = filter.GetExpressionType();
        if (!bounds || !constant) {
            bounds = BoundsOf(place, *comparison.right);
            constant = ConstantOf(*comparison.left);
            type = duckdb::FlipComparisonExpression(type);
        }
        return bounds && constant && ExcludesComparison(place, type, *bounds, *constant);
    }
    case ExpressionClass::BOUND_CONJUNCTION: {
        bool is_and = filter.GetExpressionType() == ExpressionType::CONJUNCTION_AND;
        for (auto &child : filter.Cast<duckdb::BoundConjunctionExpression>().children) {
            if (ExcludesAll(place, *child) == is_and) {
                return is_and;
            }
        }
        return !is_and;
    }
    case ExpressionClass::BOUND_BETWEEN:
        return ExcludesBetween(place, filter.Cast<duckdb::BoundBetweenExpression>());
    case ExpressionClass::BOUND_OPERATOR: {
        auto &operation = filter.Cast<duckdb::BoundOperatorExpression>();
        auto type = filter.GetExpressionType();
        if (type == ExpressionType::COMPARE_IN) {
            return ExcludesIn(place, operation);
        }
        bool is_null = type == ExpressionType::OPERATOR_IS_NULL;
        return (is_null || type == ExpressionType::OPERATOR_IS_NOT_NULL) && ExcludesNulls(place, operation, is_null);
    }
    default:
        return false;
    }
}

} // namespace

bool Excludes(const Expression &filter, const Segments &segments, idx_t at, const vector<const Column *> &columns) {
    return ExcludesAll(Place {segments, at, columns}, filter);
}

} // namespace vstore
